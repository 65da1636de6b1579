"""A project in which a stand-in for `dvc` records what it is asked for, and makes the commits that DVC would make."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

# Runs as `python -m dvc`. An experiment's figures are a known function of its parameters; one with weight decay above
# 1 fails, as a stage would. Like DVC it refuses a name that is taken.
STAND_IN = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
import yaml

asked = sys.argv[1:]
with open(".git/asked.jsonl", "a") as file:
    file.write(json.dumps(asked) + "\\n")

def git(*arguments, text=None, **variables):
    return subprocess.run(["git", *arguments], input=text, capture_output=True, text=True, check=True,
                          env={**os.environ, **variables}).stdout.strip()

head = git("rev-parse", "HEAD")
if asked[:2] == ["exp", "run"]:
    name = asked[asked.index("--name") + 1]
    ref = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    if git("for-each-ref", ref):
        sys.exit(f"ERROR: experiment {name} exists")
    params = yaml.safe_load(Path("params.yaml").read_text())
    for place, word in enumerate(asked):
        if word == "-S":
            key, value = asked[place + 1].split("=", 1)
            *sections, last = key.split(".")
            part = params
            for section in sections:
                part = part[section]
            part[last] = yaml.safe_load(value)
    lr, decay = float(params["pretrain"]["optimizer"]["lr"]), params["pretrain"]["optimizer"]["weight_decay"]
    if os.environ.get("STAND_IN_WAITS"):
        print("waiting", flush=True)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            Path(".git/interrupted").touch()
            sys.exit(255)
    if decay > 1:
        print("pretrain: error: weight_decay: too large")
        sys.exit("ERROR: failed to reproduce 'pretrain'")
    files = {
        "params.yaml": yaml.safe_dump(params),
        "metrics/pretrain.json": json.dumps({"data": "sample", "pretrained": "none", "final": {
            "train_loss": 100 * lr, "validation_loss": 5 + 100 * lr + decay}}),
    }
    index = {"GIT_INDEX_FILE": f".git/index-{os.getpid()}"}
    git("read-tree", "HEAD", **index)
    changed = [line for line in git("diff", "--name-only").splitlines() if line not in files]
    files.update({name: Path(name).read_text() for name in changed})
    for path, content in files.items():
        blob = git("hash-object", "-w", "--stdin", text=content)
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", **index)
    commit = git("commit-tree", git("write-tree", **index), "-p", "HEAD", "-m", name)
    git("update-ref", ref, commit)
"""

STUDY = """\
kind: pipeline
title: A study
source: a table
stage: pretrain
targets: [pretrain]
compared: [pretrain]
params:
  pretrain.schedule.kind: constant
reduced:
  pretrain.epochs: 1
columns:
  train: {title: training loss, file: pretrain, key: final.train_loss, decimals: 3}
  validation: {title: validation loss, file: pretrain, key: final.validation_loss, decimals: 3}
headline: validation
variants:
- name: plain
  title: plain
  published: {validation: 5.5}
- name: broken
  title: broken
  params: {pretrain.optimizer.weight_decay: 2.0}
- name: fast
  title: fast
  row: '3'
  params: {pretrain.optimizer.lr: 0.01}
  published: {train: 0.5, validation: 5.2}
- name: large
  title: large
  params: {classify.base: gpt2/355M}
  needs: {size: 355M}
- name: filed
  title: filed
  needs: {file: data/other.json}
space:
  column: validation
  seed: 7
  axes:
    pretrain.optimizer.lr: {low: 0.0001, high: 0.1, log: true}
    pretrain.optimizer.weight_decay: {values: [0.0, 0.1, 2.0]}
"""


@pytest.fixture
def project(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    for name in ("src", "docs", "experiments", "metrics"):
        (folder / name).mkdir(parents=True)
    shutil.copytree(root / "profiles", folder / "profiles")
    shutil.copy(root / "profiles/quick.yaml", folder / "params.yaml")
    (folder / "src/model.py").write_text("width = 1\n")
    (folder / "dvc.yaml").write_text("stages:\n  pretrain:\n    cmd: none\n    deps: [src/model.py, data/raw]\n")
    (folder / "experiments/tried.yaml").write_text(STUDY)
    (folder / ".gitignore").write_text(".cache/\nmlflow.db*\nmlartifacts/\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "begin"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    stand_in = tmp_path / "stand_in"
    (stand_in / "dvc").mkdir(parents=True)
    (stand_in / "dvc/__init__.py").touch()
    (stand_in / "dvc/__main__.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", f"{stand_in}:{root / 'src'}")
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "t")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "t@example.invalid")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def asked(project: Path) -> Callable[[], list[list[str]]]:
    """What `dvc` was asked for since the last call."""
    path = project / ".git/asked.jsonl"

    def read() -> list[list[str]]:
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [words for line in lines if (words := json.loads(line)) != ["cache", "dir"]]

    return read
