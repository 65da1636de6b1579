"""An MLflow server far away: slow uploads, logins, rights, proxies, another experiment."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from gpt_from_scratch import cli
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tracking import registry, run, server, summary
from gpt_from_scratch.tracking.run import track_stage

PROXY = {"http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"}


@pytest.fixture
def answering() -> Iterator[Callable[[int, dict[str, Any]], tuple[str, list[str]]]]:
    """A function that starts a server with one answer to everything but /health; its address, and what it was asked."""
    servers = []

    def start(status: int, content: dict[str, Any]) -> tuple[str, list[str]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                healthy = self.path == "/health"
                if not healthy:
                    asked.append(self.path)
                body = b"OK" if healthy else json.dumps(content).encode()
                self.send_response(200 if healthy else status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_PATCH = do_GET

            def log_message(self, *_: object) -> None:
                pass

        made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        servers.append(made)
        return f"http://127.0.0.1:{made.server_port}", asked

    yield start
    for made in servers:
        made.shutdown()
        made.server_close()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "UNAUTHENTICATED", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"),
        (403, "PERMISSION_DENIED", "EDIT on the experiment"),
    ],
)
def test_a_refusal_says_what_is_lacking_and_is_not_repeated(
    answering, project, tmp_path, monkeypatch, caplog, status, code, said
) -> None:
    address, _ = answering(status, {"error_code": code, "message": "no"})
    tried = []

    def refused(*_: object) -> None:
        tried.append(MlflowClient(address).search_experiments())

    monkeypatch.setattr(run, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(run, "FLUSH_SECONDS", 0.0)
    with track_stage(project, f"refused {status}", {}, "quick") as stage, monkeypatch.context() as patch:
        patch.setattr(run, "deliver", lambda *_: tried.append(1) or refused())
        for step in range(20):
            stage.metrics({"a": 1.0}, step)
        assert len(tried) == 1
    assert said in caplog.text
    assert caplog.text.count("cannot be written to") == 1
    assert "gpt register sends the run later" in caplog.text
    with monkeypatch.context() as patch, pytest.raises(InputError, match=re.escape(said)):
        patch.setenv("MLFLOW_TRACKING_URI", address)
        server.connect(tmp_path)


def test_uploads_have_minutes_where_figures_have_seconds(monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    server._quieten()
    limit = lambda: float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])  # noqa: E731
    assert limit() == 5
    with server.upload():
        assert limit() >= 300
    assert limit() == 5
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "42")  # the user's own holds
    with server.upload():
        assert limit() == 42


@pytest.mark.parametrize("name", ["text", "table", "artifact"])
def test_every_kind_of_file_is_sent_as_an_upload(project, monkeypatch, tmp_path, name) -> None:
    """A server that takes longer for a file than a figure may."""
    seen = []

    def slow(self: MlflowClient, *_: object) -> None:
        seen.append(float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]))

    for method in ("log_text", "log_artifact"):
        monkeypatch.setattr(MlflowClient, method, slow)
    (tmp_path / "a.txt").write_text("a")
    with track_stage(project, f"upload {name}", {}, "quick") as stage:
        {
            "text": lambda: stage.text("a", "a.txt"),
            "table": lambda: stage.table([{"a": 1}], "a.json"),
            "artifact": lambda: stage.artifact(tmp_path / "a.txt"),
        }[name]()
    assert seen
    assert min(seen) >= 300


def test_the_commands_that_fail_exit_with_1(root, tmp_path, monkeypatch) -> None:
    def away(_: object) -> None:
        raise MlflowException("no answer")

    monkeypatch.setattr(registry, "connect", away)
    monkeypatch.setattr(summary, "connect", away)
    for name in ("out_of_date", "pipeline_candidates"):
        monkeypatch.setattr(registry, name, lambda *_: None)
    monkeypatch.setattr(summary, "out_of_date", lambda *_: None)
    (tmp_path / "dvc.yaml").write_bytes((root / "dvc.yaml").read_bytes())
    (tmp_path / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/evaluation.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    from typer.testing import CliRunner

    for command, said in (("register", "gpt register tries again"), ("summary", "gpt summary tries again")):
        answer = CliRunner().invoke(cli.app, [command])
        assert answer.exit_code == 1
        assert said in answer.stderr
    assert registry.register_models(tmp_path) == []  # within a stage it is a warning
    assert summary.write_summary(tmp_path) is None


def test_the_experiments_name_is_the_users(project, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of my own")
    with track_stage(project, "elsewhere", {}, "quick") as stage:
        pass
    tracking = server.connect(project)
    assert tracking.client.get_experiment(tracking.experiment_id).name == "of my own"
    assert tracking.client.get_run(stage.run_id).info.experiment_id == tracking.experiment_id
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert server.connect(project).experiment_id != tracking.experiment_id


LOCAL = """
import sys
from gpt_from_scratch.{module} import {name} as call
try:
    print(call(*eval(sys.argv[1])))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("module", "name", "arguments", "expected"),
    [
        ("tracking.server", "silence", "({address!r},)", "None"),
        ("book.ch07", "query_model", "('a', 'm', {address!r} + '/api/chat')", "KeyError|JSON|content"),
    ],
)
def test_this_machine_is_reached_without_the_proxy(answering, root, module, name, arguments, expected) -> None:
    address, asked = answering(200, {})
    environment = {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"}
    done = subprocess.run(
        [sys.executable, "-c", LOCAL.format(module=module, name=name), arguments.format(address=address)],
        env=environment | PROXY | {"PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "refused" not in done.stdout, done.stdout
    assert asked or re.search(expected, done.stdout), done.stdout + done.stderr
    assert name == "silence" or asked


def test_a_loopback_mirror_and_judge_pass_by_the_proxy_and_others_do_not(monkeypatch) -> None:
    import requests.utils

    from gpt_from_scratch.files.local_addresses import bypass_proxies

    for name, value in {**PROXY, "no_proxy": "intra.example", "NO_PROXY": ""}.items():
        monkeypatch.setenv(name, value)
    bypass_proxies()
    for host in ("localhost:5000", "127.0.0.1:8080", "[::1]:80", "intra.example"):
        assert requests.utils.should_bypass_proxies(f"http://{host}/", None), host
    assert not requests.utils.should_bypass_proxies("http://example.org/", None)
    before = os.environ["no_proxy"]
    bypass_proxies()
    assert os.environ["no_proxy"] == before == os.environ["NO_PROXY"]


def test_without_a_proxy_nothing_is_set(monkeypatch) -> None:
    from gpt_from_scratch.files.local_addresses import bypass_proxies

    for name in (*PROXY, "HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    bypass_proxies()
    assert "no_proxy" not in os.environ


@pytest.fixture(autouse=True)
def _logging(caplog) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    kept = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(kept)
