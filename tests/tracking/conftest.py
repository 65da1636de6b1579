"""One database for all tests of the tracking: making one takes seconds."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from served_project import make_project

from gpt_from_scratch.tracking import candidates, run, server
from gpt_from_scratch.tracking.candidates import MODELS
from gpt_from_scratch.tracking.server import Tracking, connect


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _opened_at_once(request, monkeypatch) -> None:
    """MLflow is open as soon as a run is entered, except where a test is about the time before."""

    def at_once(root: Path) -> Future:
        future = server.connect_beside(root)
        wait([future])
        return future

    if "in_background" not in request.fixturenames:
        monkeypatch.setattr(run, "connect_beside", at_once)


@pytest.fixture
def in_background() -> None:
    """Ask for MLflow to be opened beside the work, as a stage does."""


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
    """The project whose database all tests share; each looks only for its own runs, and begins without run files."""
    shutil.rmtree(made / ".mlflow-pending", ignore_errors=True)
    return made


@pytest.fixture
def pending(project) -> Path:
    """The folder of the shared project's run files."""
    return project / ".mlflow-pending"


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


@pytest.fixture
def mlflow_server(copied, tmp_path) -> Iterator[Callable[[], Callable[[], None]]]:
    """A function that starts the server at `mlflow_server.address` and returns one that stops it."""
    store = copied("store")
    # A server of its own keeps the files of the experiment that it creates itself.
    with closing(sqlite3.connect(store / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET name = 'another' WHERE name = ?", (server.EXPERIMENT,))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--workers", "1", "--port", str(port)]
    arguments += ["--artifacts-destination", str(store / "artifacts"), "--disable-security-middleware"]
    stops: list[Callable[[], None]] = []

    def run() -> Callable[[], None]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments],
            cwd=store,
            start_new_session=True,
            stdout=(tmp_path / "server.log").open("ab"),
            stderr=subprocess.STDOUT,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )

        def stop() -> None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

        stops.append(stop)
        deadline = time.monotonic() + 180
        while server.silence(run.address):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
        return stop

    run.address = f"http://127.0.0.1:{port}"
    yield run
    for stop in stops:
        stop()


@pytest.fixture
def pipeline(copied, root) -> Path:
    folder = copied("pipeline")
    # The runs' files of this copy lie in this copy.
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ?", ((folder / "mlartifacts").as_uri(),))
    make_project(folder, root)
    return folder


@pytest.fixture
def one(monkeypatch) -> None:
    """Only the smallest of the models, to save time."""
    monkeypatch.setattr(candidates, "MODELS", {"spam-classifier": MODELS["spam-classifier"]})
