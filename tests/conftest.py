"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Several tests at once share the cores: a thread that waits for another lets others compute. Read when PyTorch is
# loaded, by the processes that tests start too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

ROOT = Path(__file__).resolve().parents[1]


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
