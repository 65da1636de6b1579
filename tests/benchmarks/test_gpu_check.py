"""What `make test-gpu` does, without a GPU: made-up tests and benchmarks, in one JSON within a time limit."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_check, machine

TESTS = """
import time
import pytest

pytestmark = pytest.mark.gpu

def test_sound(): pass

def test_wrong(): assert 1 + 1 == 3, "losses differ"

def test_needy(): import no_such_library

def test_for_several():
    pytest.skip("two GPUs are needed, found 1")
"""
BENCHMARK = """
import time
from benchmarks.row import Row
PARTS = {"quick": 0.1, "wrong": 0.1, "slow": 0.1, "large": 1e6}
def rows(part):
    yield Row(part, 1.0, {}, "nothing")
    assert part != "wrong", "losses differ"
    time.sleep(60 if part == "slow" else 0)
"""


@pytest.fixture
def tests(tmp_path, root, monkeypatch) -> Path:
    """A folder with the settings of tests/gpu and other tests."""
    folder = tmp_path / "tests"
    folder.mkdir()
    shutil.copy(root / "tests/gpu/conftest.py", folder)
    ini = (root / "tests/gpu/gpu.ini").read_text().replace("../../src ../..", f"{root / 'src'} {root}")
    (folder / "gpu.ini").write_text(ini)
    monkeypatch.setattr(gpu_check, "TESTS", folder)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}:{root / 'src'}")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def without_gpu(monkeypatch, cuda) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path, monkeypatch, capsys):
    without_gpu(monkeypatch, None)
    assert gpu_check.main(["--out", str(tmp_path / "gpu.json")]) == 0
    assert capsys.readouterr().out == f"no GPU: PyTorch {torch.__version__}, built without CUDA, finds none\n"
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.parametrize(("failed", "code"), [({}, 0), ({"test_fake": "misplaced"}, 1)])
def test_a_build_with_cuda_runs_the_fake_tensors(tmp_path, monkeypatch, capsys, failed, code):
    without_gpu(monkeypatch, "13.0")
    monkeypatch.setattr(gpu_check, "run_tests", lambda seconds: {"failed": failed})
    assert gpu_check.main(["--out", str(tmp_path / "gpu.json")]) == code
    assert "built with CUDA 13.0, finds none\nWith fake tensors" in capsys.readouterr().out


@pytest.mark.slow
def test_tests_and_benchmark_in_one_file(tmp_path, tests, monkeypatch, capsys):
    (tests / "test_made_up.py").write_text(TESTS)
    (tests / "test_needy.py").write_text("import pytest\npytest.importorskip('no_such_library')\n")
    (tests / "test_broken.py").write_text("1 / 0\n")
    monkeypatch.setattr(machine, "why_no_gpu", lambda: None)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "triton" else found(name))
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes/gpu.py").write_text(BENCHMARK.replace('"slow": 0.1, ', ""))
    run = gpu_check.run_benchmark
    monkeypatch.setattr(gpu_check, "run_benchmark", lambda until: run(until, "fakes.gpu"))
    out = tmp_path / "results/gpu.json"
    assert gpu_check.main(["--out", str(out), "--seconds", "200"]) == 1
    results = json.loads(out.read_text())
    assert {"date", "machine", "missing"} <= results.keys()
    assert "triton" in results["missing"]
    assert results["tests"]["passed"] == 1
    failed, skipped = results["tests"]["failed"], results["tests"]["skipped"]
    assert sorted(failed) == ["test_broken.py", "test_made_up.py::test_wrong"]
    assert "ZeroDivisionError" in failed["test_broken.py"]
    assert "losses differ" in failed["test_made_up.py::test_wrong"]
    assert "no_such_library" in skipped.pop("test_needy.py")
    assert skipped == {
        "test_made_up.py::test_needy": "the package no_such_library is not installed",
        "test_made_up.py::test_for_several": "two GPUs are needed, found 1",
    }
    assert [row["work"] for row in results["rows"]] == ["quick", "wrong"]
    assert results["failed"] == ["wrong"]
    assert list(results["cut"]) == ["large"]
    printed = capsys.readouterr().out
    assert "missing: triton: nothing is compiled" in printed
    assert "tests: 1 passed, 2 failed, 3 skipped" in printed
    assert "cut: large: reckoned to take 1000000 s" in printed


def test_what_does_not_end_in_time_is_ended(tmp_path, tests):
    began = time.monotonic()
    assert gpu_check.run_within([sys.executable, "-c", "import time; time.sleep(60)"], 0, {}) is None
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes/slow.py").write_text(BENCHMARK.replace('"quick": 0.1, "wrong": 0.1, ', ""))
    found = gpu_check.run_benchmark(time.monotonic() + 5, "fakes.slow")
    assert time.monotonic() - began < 40
    assert list(found["cut"]) == ["slow", "large"]
    assert "did not end within" in found["cut"]["slow"]
    assert found["failed"] == []


def test_the_benchmarks_parts_are_those_that_it_has():
    assert set(gpu.PARTS) == {*gpu.FULL.sizes, "decoding", "book"}
    assert sum(gpu.PARTS.values()) > gpu_check.SECONDS - gpu_check.TESTS_SECONDS  # or nothing would have to be cut
