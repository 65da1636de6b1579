"""One database for all tests of the tracking: making one takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt_from_scratch.tracking.server import Tracking, connect


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A project whose database exists; for copying."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
            patch.delenv(name, raising=False)
        root = tmp_path_factory.mktemp("made")
        connect(root)
        return root


@pytest.fixture
def project(made) -> Path:
    """The project whose database all tests share; each looks only for its own runs."""
    return made


@pytest.fixture
def runs(project) -> Callable[[str], list[Any]]:
    """A function that returns the runs of the shared project whose stage tag is given."""

    def find(stage: str, tracking: Tracking | None = None) -> list[Any]:
        tracking = tracking or connect(project)
        return tracking.client.search_runs([tracking.experiment_id], f"tags.stage = '{stage}'")

    return find


@pytest.fixture
def copied(made, tmp_path) -> Callable[[str], Path]:
    """A function that puts the ready database into a new folder of the given name."""

    def copy(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(made / "mlflow.db", folder / "mlflow.db")
        return folder

    return copy
