# GNU make 3.81 (macOS) or later. `make help` lists the targets.
SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 5000
REFERENCE := llms-from-scratch==1.0.19

FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# Looked for when it is first needed, and only once.
PYTHON ?= $(eval PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(FITS)' 2>/dev/null && echo "$$name" && break; done))$(PYTHON)

# What is installed depends on these files' content, and an environment works only where it was made.
STATE := $(shell { pwd; cat requirements.lock pyproject.toml; } | cksum | cut -d ' ' -f 1)
STAMP := $(VENV)/installed-$(STATE)

# The benchmarks' environment holds those whom we compare with, and nothing of the pipeline.
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/installed-$(STATE)

# The `python` of dvc.yaml is the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help checkout install repro reproduce-check test test-slow test-faults test-browser test-gpu test-network test-notebooks test-all notebooks bench bench-gpu ui clean distclean lock
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## create .venv and install what requirements.lock pins; nothing when that is done

# A downloaded archive has no .git, which DVC needs.
checkout:
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo 'error: expected a git checkout, found none (or no git);' \
		'clone the project, or make this folder one: git init && git add . && git commit -m "as downloaded"' >&2; exit 1; }

repro: checkout $(STAMP) ## run the pipeline; PROFILE=book (or another file in profiles/) chooses the parameters
	@$(if $(PROFILE),$(BIN)/gpt use-profile "$(PROFILE)")
	@set -o pipefail; began=$$(date +%s); PYTHONUNBUFFERED=1 $(BIN)/gpt repro | $(NO_PUSH) && \
	$(BIN)/gpt conclude --since $$began

reproduce-check: $(STAMP) ## run the profile quick in two fresh folders and compare every hash
	@$(BIN)/python -m gpt_from_scratch.tools.reproduce_check

test: $(STAMP) ## linter, format check and the tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP) ## the tests that take minutes
	@$(BIN)/python -m pytest -m slow

test-faults: $(STAMP) ## kill every training stage at random times (KILLS=50 each, some 30 minutes) and compare the results
	@$(BIN)/python -m pytest -m faults

test-browser: $(STAMP) ## the tests that open pages in a real Chromium
	@$(BIN)/python -m pytest -m browser

# A machine with a GPU may have neither a network nor .venv: then the Python on the path, with PyTorch and pytest.
test-gpu: ## test and time a CUDA GPU within 8 minutes, without a network, and write benchmarks/results/gpu.json
	@[ -x $(BIN)/python ] || { $(call check_python); }
	@PYTHONPATH=src "$$([ -x $(BIN)/python ] && echo $(BIN)/python || echo $(PYTHON))" -m benchmarks.gpu_check

test-network: $(STAMP) ## the tests that need the upstream hosts
	@$(BIN)/python -m pytest -m network

test-notebooks: $(STAMP) ## run the four notebooks (3 minutes) and compare their outputs with the committed ones
	@$(BIN)/python -m notebooks

test-all: test test-notebooks test-browser test-slow test-faults ## every suite but test-network and test-gpu, which need hosts and a GPU; an hour

notebooks: $(STAMP) ## run the four notebooks and write them, with their outputs, as .ipynb beside the .py
	@$(BIN)/python -m notebooks --write

bench: $(BENCH_STAMP) ## time ours and others' code on the same work, on the CPU (at most 15 minutes); keep the machine free
	@$(call benchmark,cpu,)

bench-gpu: $(BENCH_STAMP) ## the same on a GPU: training, decoding, the book's trainings
	@$(call benchmark,gpu,--gpu)

ui: $(STAMP) ## compare the runs in MLflow's UI (PORT=5001: at another port; OPEN=1: open the browser)
	@$(BIN)/gpt ui --port "$(PORT)" $(if $(OPEN),--open)

clean: ## free what can be made again: data, models, DVC's cache, downloads; runs and parameters stay
	@PYTHONPATH=src "$$([ -x $(BIN)/python ] && echo $(BIN)/python || echo $(PYTHON))" -m gpt_from_scratch.tools.cleaning

distclean: clean ## clean, and remove .venv and .venv-bench
	@rm -rf $(VENV) $(BENCH)

lock: ## renew requirements.lock with the newest versions that fit; the environment follows at the next make
	@$(call check_python)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && set -eo pipefail && \
	"$(PYTHON)" -m venv "$$folder/venv" && \
	"$$folder/venv/bin/python" -m pip install -e ".[pipeline,app,dev]" | $(PROGRESS) && \
	"$$folder/venv/bin/python" -m pip install --quiet --no-deps --ignore-requires-python $(REFERENCE) && \
	"$$folder/venv/bin/python" -m pip freeze --exclude-editable > "$$folder/frozen" && \
	printf '\043 Written by make lock: the versions that are tested together, as constraints for pip.\n' > requirements.lock && \
	awk '$(NAMES_AND_VERSIONS)' "$$folder/frozen" >> requirements.lock && \
	echo "requirements.lock: $$(grep -c == requirements.lock) versions; try them with: make test"

$(STAMP):
	@$(call environment,$(VENV))
	@echo "Installing what requirements.lock pins (some minutes at the first time)"
	@set -o pipefail; $(BIN)/python -m pip install -c requirements.lock -e ".[pipeline,app,dev]" | $(PROGRESS)
	@$(call reference,$(VENV))
	@touch $@

$(BENCH_STAMP):
	@$(call environment,$(BENCH))
	@echo "Installing those whom the benchmarks compare with (some minutes at the first time)"
	@set -o pipefail; $(BENCH)/bin/python -m pip install -c requirements.lock -e ".[bench]" | $(PROGRESS)
	@$(call reference,$(BENCH))
	@touch $@

# An environment that was moved, copied or left unfinished, or whose Python is gone or does not fit, is made anew.
define environment
{ $(call check_python); } && \
	{ $(1)/bin/python -c '$(FITS)' 2>/dev/null && $(1)/bin/pip --version 2>/dev/null | grep -qF "$(CURDIR)/$(1)/" || rm -rf $(1); }; \
	rm -f $(1)/installed-*; \
	[ -x $(1)/bin/python ] || { echo "Creating $(1) with $$("$(PYTHON)" --version)" && "$(PYTHON)" -m venv "$(CURDIR)/$(1)"; }
endef

# The reference asks for old versions of what is already there.
reference = $(1)/bin/python -m pip install --quiet --no-deps --ignore-requires-python $(REFERENCE)

# MLflow is in the pipeline's environment, if that is installed.
define benchmark
$(BENCH)/bin/python -m benchmarks $(2); code=$$?; \
	{ [ -x $(BIN)/python ] && $(BIN)/python -m benchmarks.track benchmarks/results/$(1).json; } || \
	$(BENCH)/bin/python -m benchmarks.track benchmarks/results/$(1).json; exit $$code
endef

define check_python
[ -n "$(PYTHON)" ] && "$(PYTHON)" -c '$(FITS)' 2>/dev/null || { \
	echo "error: Python 3.11, 3.12 or 3.13 is needed, found $$("$(if $(PYTHON),$(PYTHON),python3)" --version 2>&1 | head -n 1);" \
	"name one with: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python3.12" >&2; exit 1; }
endef

# DVC's advice to push, where there is nowhere to push to.
NO_PUSH := (trap '' INT TERM HUP; grep --line-buffered -v \
	"$$(grep -qsF "['remote" .dvc/config .dvc/config.local && echo 'show all' || echo '^Use .dvc push. to send')" || :)

# Of pip's hundreds of lines, the downloads that take time.
PROGRESS := { grep --line-buffered -E \
	'^ *(Downloading|Using cached|Processing).*(\.whl.*[0-9] MB|torch.*\.whl)|^ERROR|^Installing collected' || :; } | \
	while read -r line; do case "$$line" in Installing*) set -- $$line; line="Installing $$(($$\# - 3)) packages";; esac; \
	echo "  $$line"; done

# Names and versions only: no build of PyTorch, no packages of CUDA, TensorFlow under both of its names.
define NAMES_AND_VERSIONS
!/^[A-Za-z0-9._-]+==/ || /^(nvidia|cuda|triton)/ {next} {sub(/[+].*/, "")} \
/^tensorflow(_cpu)?==/ {sub(/.*==/, ""); print "tensorflow==" $$0; print "tensorflow-cpu==" $$0; next} {print}
endef
