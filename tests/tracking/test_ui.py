"""MLflow's real UI in a real Chromium: what the README and docs/mlflow.md tell a person to click."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from served_project import make_project, write_evaluation

from gpt_from_scratch.tracking import registering, server
from gpt_from_scratch.tracking.registering import register_models
from gpt_from_scratch.tracking.run import track_stage
from gpt_from_scratch.tracking.summary import write_summary
from gpt_from_scratch.training.loop import Record

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine's path"),
]

FILTER = "tags.kind%20%3D%20%22summary%22"
SAMPLE = "Every effort moves you towards the lighthouse"


@pytest.fixture(scope="module")
def store(made, root, tmp_path_factory) -> Path:
    """A store with a training, two states of the pipeline and their models."""
    project = tmp_path_factory.mktemp("seen")
    shutil.copy(made / "mlflow.db", project / "mlflow.db")
    with closing(sqlite3.connect(project / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ?", ((project / "mlartifacts").as_uri(),))
    make_project(project, root)
    shutil.copytree(root / "profiles", project / "profiles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registering, "cache_folder", lambda root: None)
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"):
            patch.delenv(name, raising=False)
        with track_stage(project, "pretrain", {}, "quick") as run:
            for step in range(60):
                run.log(Record(step, "loss", 7.0 - step / 20, 1, 8 * (step + 1)))
            run.table([{"epoch": 1, "step": 59, "text": SAMPLE}], "samples.json")
        assert write_summary(project)
        register_models(project)
        params = project / "params.yaml"
        params.write_text(params.read_text().replace("lr: 0.002", "lr: 0.0003", 1))
        write_evaluation(project, accuracy=0.95)
        assert write_summary(project)
        register_models(project)
    return project


@pytest.fixture(scope="module")
def address(store) -> Iterator[str]:
    """MLflow's UI as `gpt ui` starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", *arguments, "--workers", "1"],
        cwd=store,
        start_new_session=True,
        stdout=(store / "ui.log").open("wb"),
        stderr=subprocess.STDOUT,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    found = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    try:
        while server.silence(found):
            assert process.poll() is None and time.monotonic() < deadline, (store / "ui.log").read_text()
            time.sleep(0.2)
        yield found
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def page(address, tmp_path) -> Iterator[object]:
    """A page of the browser; what it showed last is kept as a picture in the test's folder."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        shown = browser.new_page(viewport={"width": 1500, "height": 950})
        shown.set_default_timeout(60_000)
        yield shown
        picture = tmp_path / "last.png"
        shown.screenshot(path=str(picture))
        print(f"picture: {picture}")
        browser.close()


def test_two_summary_runs_are_compared(page, address) -> None:
    page.goto(f"{address}/#/experiments/1/runs?searchFilter={FILTER}")
    rows = page.get_by_role("link", name="summary (quick")
    rows.nth(1).wait_for()
    assert rows.count() == 2
    assert "every run of the pipeline's stages, and its states" in page.inner_text("body")
    for _ in range(2):
        page.get_by_role("checkbox", name="toggle row selection (unchecked)").first.click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Show diff only").first.wait_for()
    page.wait_for_function("document.body.innerText.includes('pretrain.optimizer.lr')")
    assert "pretrain.optimizer.weight_decay" in page.inner_text("body")
    for switch in page.get_by_label("Show diff only").all():
        switch.click(force=True)
    page.wait_for_function("!document.body.innerText.includes('pretrain.optimizer.weight_decay')")
    body = page.inner_text("body")
    assert "Comparing 2 Runs" in body
    for said in ("pretrain.optimizer.lr", "0.002", "0.0003", "classifier/test/accuracy", "0.95"):
        assert said in body, said


def test_a_training_shows_its_samples_and_the_machine(page, address) -> None:
    page.goto(f"{address}/#/experiments/1/runs?searchFilter=tags.stage%20%3D%20%22pretrain%22")
    page.get_by_role("link", name="pretrain (quick)").click()
    page.get_by_text("Pretrain a GPT from scratch on the text (chapter 5)").first.wait_for()
    page.get_by_role("tab", name="System metrics").click()
    page.get_by_text("process_memory_megabytes").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("samples.json").first.click()
    page.get_by_text(SAMPLE).first.wait_for()


def test_the_registry_shows_champions_and_descriptions(page, address) -> None:
    page.goto(f"{address}/#/models/spam-classifier")
    page.get_by_text("champion").first.wait_for()
    page.goto(f"{address}/#/models/spam-classifier/versions/2")
    page.get_by_text("Tells texts of several classes apart").first.wait_for()
    body = page.inner_text("body")
    for said in ("0.9500", "Limits", "Licence", "measured_on"):
        assert said in body, said
