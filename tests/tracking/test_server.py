"""Where the runs are kept, and what is said when that place cannot be used."""

from __future__ import annotations

import http.server
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tracking import relocate as moved
from gpt_from_scratch.tracking import server


def test_the_database_lies_in_the_project_unless_an_address_is_set(tmp_path, monkeypatch) -> None:
    assert server.tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert server.artifact_root(tmp_path) == tmp_path / "mlartifacts"
    monkeypatch.setenv("DVC_ROOT", "/the/project")
    assert server.tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"  # another one's
    copy = Path("/the/project/.dvc/tmp/exps/tmpabc")  # dvc exp run --temp
    assert server.tracking_uri(copy) == "sqlite:////the/project/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert server.tracking_uri(tmp_path) == "http://127.0.0.1:1"


@pytest.mark.parametrize("name", ["ä b#c", "ä %20?b"])
def test_a_folder_may_have_any_name(copied, name) -> None:
    folder = copied(name)
    tracking = server.connect(folder)
    run = tracking.client.create_run(tracking.experiment_id)
    tracking.client.set_terminated(run.info.run_id)
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlflow.db.lock"}
    assert server.artifact_root(folder) == folder / "mlartifacts"


def test_a_server_that_is_away_is_named_at_once(tmp_path, monkeypatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{address}")
    with pytest.raises(InputError, match=f"http://{address}, found none.*unset the variable") as caught:
        server.connect(tmp_path)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_server_that_hangs_is_not_waited_for(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(server, "PROBE_SECONDS", 0.3)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(InputError, match="timed out"):
            server.connect(tmp_path)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(("status", "silent"), [(200, False), (404, False), (401, False), (503, True)])
def test_any_answer_but_a_gateways_is_a_sign_of_life(status, silent) -> None:
    with _answering(status) as address:
        assert (server.silence(address) is not None) is silent


@pytest.mark.parametrize("address", ["file:///tmp/nowhere", "htp://mistyped", "postgresql://nobody@localhost/x"])
def test_an_address_that_cannot_be_used_is_named(tmp_path, monkeypatch, address) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI: .*unset the variable"):
        server.connect(tmp_path)


def test_a_file_that_is_no_database_is_named(tmp_path) -> None:
    (tmp_path / "mlflow.db").write_text("something else entirely")
    with pytest.raises(InputError, match=r"mlflow\.db: expected MLflow's SQLite database, found .*something"):
        server.connect(tmp_path)


@pytest.mark.slow
def test_processes_that_start_together_share_a_fresh_database(tmp_path) -> None:
    script = "import sys, pathlib; from gpt_from_scratch.tracking.server import connect; connect(pathlib.Path('.'))"
    environment = os.environ | {"PYTHONPATH": str(Path(server.__file__).parents[2])}
    together = [
        subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    messages = [process.communicate(timeout=120)[1].decode() for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], messages
    assert messages == ["", "", ""]  # nothing of the migrations' chatter either


def test_a_moved_project_is_noticed_and_mended(made, tmp_path, caplog) -> None:
    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(made / "mlflow.db", old)
    (old / "mlartifacts").mkdir()
    moved.mend(old)
    tracking = server.connect(old)
    run_id = tracking.client.create_run(tracking.experiment_id).info.run_id
    tracking.client.log_text(run_id, "still here", "sample.txt")
    tracking.client.set_terminated(run_id)

    new = tmp_path / "new_folder"
    old.rename(new)
    with caplog.at_level(logging.WARNING):
        tracking = server.connect(new)
    assert "has been moved" in caplog.text
    assert "gpt_from_scratch.tracking.relocate" in caplog.text
    assert tracking.client.list_artifacts(run_id) == []

    assert moved.mend(new) >= 2
    assert moved.mend(new) == 0
    caplog.clear()
    assert [file.path for file in server.connect(new).client.list_artifacts(run_id)] == ["sample.txt"]
    assert caplog.text == ""


def test_mending_needs_the_files(copied) -> None:
    folder = copied("moved")
    with pytest.raises(InputError, match="mlartifacts: expected the runs' files"):
        moved.mend(folder)


@contextmanager
def _answering(status: int) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as answering:
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{answering.server_port}"
        answering.shutdown()


def test_no_process_is_forked_while_mlflow_is_imported(monkeypatch, tmp_path):
    monkeypatch.setattr(server, "connect", lambda root: time.sleep(0.5))
    opening = server.connect_beside(tmp_path)
    assert not opening.done()
    if not (child := os.fork()):
        os._exit(0 if opening.done() else 1)
    assert os.waitpid(child, 0)[1] == 0
