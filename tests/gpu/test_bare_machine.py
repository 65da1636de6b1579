"""`make test-gpu` on a machine with the base install and pytest alone: everything else that is installed is hidden."""

from __future__ import annotations

import os
import subprocess
import sys

HIDDEN = """
import sys
from importlib.metadata import packages_distributions
sys.path.insert(0, "tests")
from base_install import Hide, needed, plain
with_pytest, hide = set(), Hide()
needed("pytest", with_pytest)
hide.hidden -= {top for top, names in packages_distributions().items() if not with_pytest.isdisjoint(map(plain, names))}
assert {"dvc", "mlflow", "gradio", "hypothesis", "transformers", "pytest_timeout", "xdist"} <= hide.hidden
sys.meta_path.insert(0, hide)
import pytest
sys.exit(pytest.main(["-c", "tests/gpu/gpu.ini", "--confcutdir", "tests/gpu", "-rs", *sys.argv[1:], "tests/gpu"]))
"""


def run(root, *arguments: str) -> str:
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-c", HIDDEN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_gpus_tests_are_there_and_skipped_with_the_reason(root):
    printed = run(root, "-k", "test_on_gpu and not test_losses", "-o", "console_output_style=count")
    assert "not installed" not in printed
    assert "could not import" not in printed


def test_their_logic_runs_there(root):
    printed = run(root, "-m", "not gpu and not slow", "-k", "test_placement or test_recipes or test_logits", "-v")
    assert "test_recipes[preferences] PASSED" in printed
    assert "SKIPPED" not in printed
