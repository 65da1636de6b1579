"""The real `dvc`, in a copy of the project: two reduced variants run, are shown, and are not run again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.tools.reproduce_check import copy_project

COMMAND = [sys.executable, "-c", "from gpt_from_scratch.cli import app; app()", "experiments"]
VARIANTS = ["--only", "batch-4-lr-0.001", "--only", "batch-8-lr-0.001"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", [[], ["--queue", "--jobs", "2"]], ids=["one-by-one", "queue"])
def test_two_variants_run_are_shown_and_are_not_run_again(root: Path, tmp_path: Path, way: list[str]) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    copy_project(root, tmp_path)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for command in (["add", "."], ["commit", "--quiet", "-m", "begin"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {**dict.fromkeys(names, "t@example.invalid"), "PYTHONPATH": str(tmp_path / "src")}

    def gpt(*words: str) -> str:
        done = subprocess.run(
            [*COMMAND, *words], cwd=tmp_path / "src", env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    short = ["--set", "pretrain.epochs=1", "--set", "pretrain.model.n_layers=1"]
    output = gpt("run", "search", *VARIANTS, *short, *way)
    assert "search: 2 done" in output
    assert not way or "batch-4-lr-0.001-reduced: running" in output  # the queue is watched, not only waited for
    assert "search: 2 present" in gpt("run", "search", *VARIANTS, *short, *way)

    table = gpt("table", "search", "--out", str(tmp_path / "table.md"))
    assert (tmp_path / "table.md").read_text() == table
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in table.splitlines() if "|" in line}
    found = {}
    for name in ("batch-4, lr-0.001", "batch-8, lr-0.001"):
        train, validation, minutes = (float(cell.strip(" |")) for cell in rows[name])
        assert 0 < minutes < 10
        found[name] = train, validation
    assert len(set(found.values())) == 2
    # What the pipeline itself comes to with these parameters.
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["pretrain"] |= {"batch_size": 4, "epochs": 1}
    params["pretrain"]["model"]["n_layers"] = 1
    params["pretrain"]["optimizer"]["lr"] = 0.001
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    path = {**environment, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}
    subprocess.run([sys.executable, "-m", "dvc", "repro", "pretrain"], cwd=tmp_path, env=path, check=True)
    final = read_json(tmp_path / "metrics/pretrain.json")["final"]
    expected = round(final["train_loss"], 3), round(final["validation_loss"], 3)
    assert found["batch-4, lr-0.001"] == pytest.approx(expected, abs=1e-9)
