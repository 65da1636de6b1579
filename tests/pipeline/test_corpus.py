"""Pretraining on texts of one's own: `pretrain.corpus` from params.yaml to the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml
from stage_project import copy_project

from gpt_from_scratch.pipeline.stage import read_declared


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder, "stages", "src", "data/sample", "dvc.yaml")
    params = yaml.safe_load((root / "profiles/quick.yaml").read_text(encoding="utf-8"))
    params["pretrain"] |= {"epochs": 1, "corpus": {"path": "data/corpus", "files": ["books"], "strip_gutenberg": True}}
    params["pretrain"]["model"] |= {"emb_dim": 16, "n_layers": 1, "context_length": 32}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    text = (root / "data/sample/the-lighthouse.txt").read_text(encoding="utf-8")
    (folder / "data/corpus/books").mkdir(parents=True)
    for number in (1, 2):
        (folder / f"data/corpus/books/{number}.txt").write_text(text[number * 5000 : number * 5000 + 20_000])
    return folder


def run(project, stage):
    settings = {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{project}/runs.db"}
    return subprocess.run(
        [sys.executable, f"stages/{stage}.py"], cwd=project, capture_output=True, text=True, env=os.environ | settings
    )


@pytest.mark.slow
def test_from_the_texts_to_the_model(project):
    assert run(project, "fetch_data").returncode == 0
    answer = run(project, "pretrain")
    assert answer.returncode == 0, answer.stderr
    found = json.loads((project / "metrics/pretrain.json").read_text())
    assert (found["data"], found["corpus_documents"]) == ("data/corpus", 2)
    assert found["final"]["validation_loss"] < found["initial"]["validation_loss"]
    (kept,) = (project / ".cache/corpora").iterdir()
    (ids,) = kept.glob("*.u16")
    assert ids.stat().st_size == 2 * found["corpus_tokens"]


def test_the_corpus_is_what_the_stage_depends_on(project, monkeypatch):
    monkeypatch.chdir(project)
    for stage in ("pretrain", "evaluate"):
        deps = read_declared(project, stage).deps
        assert [path for path in deps if "corpus" in path.parts] == sorted((project / "data/corpus").rglob("*.txt"))
        assert project / "data/raw/text.txt" not in deps
