# syntax=docker/dockerfile:1
# The pipeline in a container; docs/moving-on.md says how to use it.
#   CPU:   docker build -t gpt .
#   CUDA:  docker build -t gpt:cuda --build-arg TORCH_INDEX= .     (PyTorch's wheels bring CUDA; the host needs the driver)
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm

# git: commits are tags of the runs; make: the targets; g++: compile: true; the rest is in the wheels.
RUN apt-get update && apt-get install --yes --no-install-recommends git make g++ && rm -rf /var/lib/apt/lists/*

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_EXTRA_INDEX_URL=${TORCH_INDEX} PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

RUN useradd --create-home --uid 1000 gpt
USER gpt
WORKDIR /home/gpt/project

# What the environment is made of comes first: it is made anew only when one of these files changes.
COPY --chown=gpt Makefile pyproject.toml requirements.lock README.md LICENSE ./
COPY --chown=gpt src/gpt_from_scratch/__init__.py src/gpt_from_scratch/__init__.py
RUN make install
COPY --chown=gpt . .

ENV PATH=/home/gpt/project/.venv/bin:$PATH
CMD ["make", "repro"]
