"""`make test-gpu` on a machine with the base install and pytest alone: everything else that is installed is hidden."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

HIDDEN = """
import sys
from importlib.metadata import packages_distributions
sys.path.insert(0, "tests")
from base_install import Hide, needed, plain

with_pytest, hidden = set(), Hide().hidden
needed("pytest", with_pytest)
hidden -= {top for top, names in packages_distributions().items() if not with_pytest.isdisjoint(map(plain, names))}
hidden.remove("optree")  # PyTorch does not look whether it can be imported, but whether it is installed
assert {"dvc", "mlflow", "gradio", "hypothesis", "transformers", "pytest_timeout", "xdist"} <= hidden

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, *rest)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
import pytest
sys.exit(pytest.main(["-c", "tests/gpu/gpu.ini", "--confcutdir", "tests/gpu", "-v", "-rs", *sys.argv[1:], "tests/gpu"]))
"""


@pytest.mark.slow
def test_it_needs_no_more(root):
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTEST_ADDOPTS", None)
    chosen = "test_on_gpu or test_placement or test_recipes or test_logits"
    command = [sys.executable, "-c", HIDDEN, "-m", "not slow", "-k", chosen, "-v"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"test_logic_on_cpu.py::test_recipes\[.+\] PASSED", done.stdout)) == 5
    assert "test_on_gpu.py::test_two_processes_with_nccl SKIPPED" in done.stdout
    assert re.search(r"test_on_gpu.py:\d+: no GPU: PyTorch .*, finds none$", done.stdout, re.M)
    assert "not installed" not in done.stdout
    assert "could not import" not in done.stdout
