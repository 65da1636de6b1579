"""What a model writes is text, also when it looks like a page: nowhere does it become markup."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt_from_scratch.files.writing import write_csv, write_json

MARK = "generated-text"
HOSTILE = f"</script><script>document.title='{MARK}'</script><img src=x onerror=\"document.title='{MARK}'\">"
CHROMIUM = Path("/usr/bin/chromium")


def hostile(content: Any) -> Any:
    """Return the same JSON with every text replaced."""
    if isinstance(content, dict):
        return {key: hostile(value) for key, value in content.items()}
    if isinstance(content, list):
        return [hostile(value) for value in content]
    return HOSTILE if isinstance(content, str) else content


@pytest.fixture
def project(root, tmp_path) -> Path:
    """The committed results, in which every text is hostile; DVC runs on a copy of the real dvc.yaml."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "metrics", tmp_path / "metrics")
    results = [*(tmp_path / "metrics").glob("*.json"), *(tmp_path / "metrics/samples").glob("*.json")]
    assert {"responses.json", "evaluation.json"} < {path.name for path in results}
    for path in results:
        write_json(path, hostile(json.loads(path.read_text(encoding="utf-8"))))
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    return tmp_path


def dvc(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def pages(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8", "replace") for path in folder.rglob("*") if path.is_file()}


def test_no_generated_text_reaches_the_plots(project) -> None:
    dvc(project, "plots", "show", "--out", "pages")
    found = pages(project / "pages")
    assert "Confusion matrix" in found["index.html"]
    assert [name for name, text in found.items() if MARK in text] == []


def test_a_cell_of_a_plot_would_become_markup_and_so_holds_no_text(project) -> None:
    path = project / "metrics/plots/confusion.csv"
    rows = [{"actual": "ham", "predicted": HOSTILE}]
    with pytest.raises(ValueError, match=r"a cell of confusion\.csv: expected a number or a word, found"):
        write_csv(path, rows)
    # Without that, this is what would come of it.
    path.write_text('actual,predicted\nham,"{}"\n'.format(HOSTILE.replace('"', '""')), encoding="utf-8")
    dvc(project, "plots", "show", "--out", "pages")
    assert "</script><script>" in pages(project / "pages")["index.html"]


def test_all_that_is_plotted_is_written_by_that_function(root) -> None:
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    plotted = {next(iter(plot)) for stage in pipeline["stages"].values() for plot in stage.get("plots", [])}
    plotted |= {file for plot in pipeline["plots"] for options in plot.values() for file in options["y"]}
    assert plotted
    assert all(re.fullmatch(r"metrics/plots/\w+\.csv", file) for file in plotted)
    for name, call in calls(root):
        if "plots" in ast.unparse(call) and re.search(r"write_(text|json)|to_csv|savefig", ast.unparse(call.func)):
            pytest.fail(f"{name}: {ast.unparse(call)}")
    for path in (root / "metrics/plots").glob("*.csv"):
        assert re.fullmatch(r"[\w.,+\n-]*", path.read_text(encoding="utf-8")), path.name


def calls(root: Path) -> Iterator[tuple[str, ast.Call]]:
    for path in [*(root / "stages").rglob("*.py"), *(root / "src").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path.name, node


def test_mlflow_gets_texts_as_files_that_are_no_pages(root) -> None:
    names = {
        argument.value
        for _, call in calls(root)
        if re.search(r"\b(run|tracker)\.(text|table)$", ast.unparse(call.func))
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }
    assert "samples.txt" in names
    assert all(name.endswith((".json", ".txt")) for name in names)
    # A description is the one thing that MLflow's pages render, as Markdown.
    assert not [name for name, call in calls(root) if "mlflow.note" in ast.unparse(call)]


@pytest.fixture
def pages_of_mlflow(tmp_path, monkeypatch) -> Iterator[tuple[str, str, str]]:
    """A server with a run full of hostile texts: its address, the experiment and the run."""
    from gpt_from_scratch.tracking import server
    from gpt_from_scratch.tracking.run import track_stage

    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    write_json(tmp_path / "pretrain.json", {"text": HOSTILE})
    with track_stage(tmp_path, "pretrain", {"prompt": HOSTILE}, "quick") as run:
        run.table([{"prompt": HOSTILE, "text": HOSTILE}], "samples.json")
        run.text(HOSTILE, "samples.txt")
        run.tags({"data": HOSTILE, "pretrained": HOSTILE})
        run.artifact(tmp_path / "pretrain.json")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    process = subprocess.Popen(
        [*command, "--workers", "1", "--port", address.rpartition(":")[2]],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    try:
        deadline = time.monotonic() + 60
        while server.silence(f"http://{address}"):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        yield f"http://{address}", server.connect(tmp_path).experiment_id, run.run_id
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_mlflows_pages_show_it_as_text(pages_of_mlflow, tmp_path) -> None:
    address, experiment, run = pages_of_mlflow
    files = ("samples.txt", "samples.json", "pretrain.json")
    for file in files:
        with urllib.request.urlopen(f"{address}/get-artifact?path={file}&run_uuid={run}") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Disposition"].startswith("attachment")
    if not CHROMIUM.is_file():
        pytest.skip("no Chromium to look at the pages with")
    page = f"{address}/#/experiments/{experiment}/runs/{run}"
    for place in ("", *(f"/artifacts/{file}" for file in files)):
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000"]
        command += [f"--user-data-dir={tmp_path}/browser", "--dump-dom", page + place]
        document = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        assert MARK in document, place
        assert f"&lt;script&gt;document.title='{MARK}'" in document, place
        assert f"<script>document.title='{MARK}'" not in document, place
        assert not re.search(r"<img [^>]*onerror", document), place
        assert MARK not in re.search(r"<title>(.*?)</title>", document)[1], place
