"""MLflow's real UI in a real Chromium: what the README and docs/mlflow.md tell a person to click."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from served_project import make_project, write_evaluation

from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.tracking import registry, server
from gpt_from_scratch.tracking.registry import register_models
from gpt_from_scratch.tracking.run import track_stage
from gpt_from_scratch.tracking.summary import write_summary
from gpt_from_scratch.training.loop import Record
from tests.params_file import set_params

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine's path"),
]

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
        patch.setattr(registry, "cache_folder", lambda root: None)
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"):
            patch.delenv(name, raising=False)
        with track_stage(project, "pretrain", {}, "quick") as run:
            for step in range(60):
                for name, value in (("loss", 7.0 - step / 20), ("lr", 0.001), ("validation_loss", 8.0 - step / 20)):
                    run.log(Record(step, name, value, 1, 8 * (step + 1)))
            run.table([{"epoch": 1, "step": 59, "text": SAMPLE}], "samples.json")
        assert write_summary(project)
        register_models(project)
        set_params(project / "params.yaml", {"pretrain.optimizer.lr": 0.0003})
        write_evaluation(project, accuracy=0.95)
        patch.setenv("DVC_EXP_NAME", "lucky-dodo")
        assert write_summary(project)
        register_models(project)
    return project


@pytest.fixture(scope="module")
def printed(store, root) -> Iterator[dict[str, str]]:
    """The addresses that `gpt ui` prints; it ends at Ctrl-C and takes its server along."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from gpt_from_scratch.cli import app; app()", "ui", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    ui = subprocess.Popen(
        command, cwd=store, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = [ui.stdout.readline() for _ in range(3)]
        assert lines[2] == "Ctrl-C ends the server.\n", lines
        taken = subprocess.run(command, cwd=store, env=environment, capture_output=True, text=True)
        assert (taken.returncode, taken.stderr.count("\n")) == (1, 1)
        assert f"port {port}: expected a free one, found address already in use" in taken.stderr
        yield dict(re.split(": +", line.strip(), maxsplit=1) for line in lines[:2])
        ui.send_signal(signal.SIGINT)
        assert ui.wait(30) == 0
        assert ui.stdout.read() == ""
        assert server.silence(f"http://127.0.0.1:{port}")
    finally:
        ui.kill()


@pytest.fixture(scope="module")
def address(printed) -> str:
    return printed["Compare states"].partition("/#")[0]


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


def test_two_states_are_compared_in_two_clicks_from_the_printed_address(page, printed, root) -> None:
    page.goto(printed["Compare states"])
    rows = page.get_by_role("link", name="summary · quick")
    rows.nth(1).wait_for()
    assert rows.count() == 2
    named = ["language_model/validation_loss", "classifier/test/accuracy", "instructions/response_loss"]
    places = [page.get_by_role("columnheader", name=name).first.bounding_box()["x"] for name in named]
    assert places == sorted(places)
    assert "lr=0.0003 · summary · quick" in rows.first.inner_text()
    page.set_viewport_size({"width": 2600, "height": 950})  # columns that are not in sight are not in the page
    for named in ("pretrain.optimizer.lr", "dvc_experiment"):
        page.get_by_role("columnheader", name=named).first.wait_for()
    page.set_viewport_size({"width": 1500, "height": 950})
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
    lr = load_params(root / "profiles/quick.yaml").pretrain.optimizer.lr
    for said in ("pretrain.optimizer.lr", str(lr), "0.0003", "classifier/test/accuracy", "0.95"):
        assert said in body, said


def test_the_curves_come_in_the_order_of_interest(page, printed) -> None:
    page.goto(printed["Training curves"])
    page.get_by_text("loss/validation_loss").first.wait_for()
    page.set_viewport_size({"width": 1500, "height": 4000})
    page.get_by_text("training/lr").first.wait_for()
    lines = page.inner_text("body").splitlines()
    groups = [above for above, below in itertools.pairwise(lines) if re.fullmatch(r"\(\d+\)", below)]
    assert groups == ["loss", "speed", "training", "Model metrics", "System metrics"]


def test_a_training_shows_its_samples_and_the_machine(page, printed) -> None:
    page.goto(printed["Training curves"])
    page.get_by_role("link", name="pretrain · quick").first.click()
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
    for said in ("95.0 %", "Limits", "Licence", "measured_on"):
        assert said in body, said
