"""Fixtures that every room's tests share."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Several tests at once share the cores: a thread that waits for another lets others compute. Read when PyTorch is
# loaded, by the processes that tests start too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from gpt_from_scratch.training.ranks import usable_cores

ROOT = Path(__file__).resolve().parents[1]

LONGEST = (
    "faults/test_stage_processes.py",
    "faults/test_kills.py",
    "training/test_reference.py",
    "gpu/test_logic_on_cpu.py",
    "tracking/test_serving.py",
    "app/test_page.py",
    "training/test_best.py",
    "benchmarks/test_gpu.py",
    "test_cli.py",
    "pipeline/test_golden_losses.py",
    "tracking/test_registry.py",
    "weights/test_openai.py",
    "training/test_process_group.py",
    "report/test_comparison.py",
    "training/test_resuming.py",
    "tracking/test_summary.py",
    "test_house.py",
)
"""The files whose tests take half of the time."""


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than there are cores: tests wait for disks, servers and the processes that they start."""
    return usable_cores() + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without looking for garbage: there is none, and each of three processes would take 4 of 22 s for it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files where several run at once, so that none is left alone at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def mirror() -> Path:
    """A folder with the real upstream files; tests that need it are skipped where there is none."""
    folder = Path(os.environ.get("GPT_MIRROR") or ROOT / "../shared/mirror")
    if not (folder / "the-verdict.txt").is_file():
        pytest.skip(f"no mirror of the upstream files at {folder} (set GPT_MIRROR)")
    return folder.resolve()
