"""The device of the tests, and their outcomes as JSON lines; it needs pytest and PyTorch alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.machine import why_no_gpu

OUTCOMES = os.environ.get("GPU_OUTCOMES")
"""File that takes each test's outcome at once, so that it is there when the time is up."""


@pytest.fixture
def device() -> torch.device:
    """The GPU."""
    if reason := why_no_gpu():
        pytest.skip(reason)
    return torch.device("cuda")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the settings of the process as they were; a GPU's sums are reproducible in a workspace of fixed size."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    tf32 = torch.backends.cuda.matmul.allow_tf32
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_num_threads(1)  # for matrices this small, several only wait for each other
    yield
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Iterator[None]:
    """Skip a test that needs a package which is not installed, and name it."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if str(error.name).startswith(("benchmarks", "gpt_from_scratch", "gpu_")):
            raise
        pytest.skip(f"the package {error.name} is not installed")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write the outcome of a test itself, or of a fixture before it that failed or skipped."""
    if report.when == "call" or report.outcome != "passed":
        _write(report, report.duration)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Write that a whole file failed or was skipped."""
    if report.outcome != "passed":
        _write(report, 0.0)


def _write(report: pytest.TestReport | pytest.CollectReport, seconds: float) -> None:
    if OUTCOMES is None:
        return
    about = ""
    if report.outcome == "skipped":
        about = str(report.longrepr[2]).removeprefix("Skipped: ")
    elif report.outcome == "failed":
        about = str(getattr(report.longrepr, "reprcrash", report.longrepr))[:2000]
    name = report.nodeid.rpartition("/")[2]
    row = {"test": name, "outcome": report.outcome, "seconds": round(seconds, 2), "about": about}
    with Path(OUTCOMES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
