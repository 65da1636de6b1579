"""Bad input to a stage: one line on standard error, exit code 1, and nothing half-written.

The first tests start the stages' scripts. Those after them ask the function that a script runs for its one error.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from unittest.mock import Mock

import pytest
import yaml
from safetensors.torch import load_file, save_file
from stage_project import copy_project

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.pipeline.data_stages import download_gpt2, fetch_data, split_messages
from gpt_from_scratch.recipes.classify import classify
from gpt_from_scratch.recipes.instruct import instruct
from gpt_from_scratch.recipes.pretrain import pretrain
from gpt_from_scratch.training.workspace import Workspace
from tests.params_file import set_params


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One database for all: making it takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('runs')}/runs.db"


def copied(root, folder):
    """Return a folder with the project's code, sample and parameters."""
    copy_project(folder, "stages", "src", "data/sample", "dvc.yaml")
    shutil.copy(root / "profiles/quick.yaml", folder / "params.yaml")
    return folder


@pytest.fixture
def project(root, tmp_path, runs, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", runs)
    return copied(root, tmp_path)


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    """What the three stages before the trainings write."""
    folder = copied(root, tmp_path_factory.mktemp("made"))
    work = Workspace(folder, load_params(folder / "params.yaml"), Mock())
    for body in (fetch_data, split_messages, download_gpt2):
        body(work)
    return folder


@pytest.fixture
def prepared(made, project):
    """A project in which the trainings can begin."""
    for name in ("data/raw", "data/spam", "models", "metrics"):
        shutil.copytree(made / name, project / name)
    return project


def run(project, stage):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("DVC_ROOT", None)
    return subprocess.run(
        [sys.executable, f"stages/{stage}.py"], cwd=project, capture_output=True, text=True, env=environment
    )


def refused(answer, *parts):
    assert answer.returncode == 1, answer.stderr
    (line,) = [line for line in answer.stderr.splitlines() if "error:" in line]
    assert "Traceback" not in answer.stderr
    for part in parts:
        assert part in line


def refuses(body, project, *parts):
    """Run a stage's function in this process; it ends with one error that holds all parts."""
    with pytest.raises(InputError) as error:
        body(Workspace(project, load_params(project / "params.yaml")))
    assert len(str(error.value).splitlines()) == 1
    for part in parts:
        assert part in str(error.value)


def note_hashes(raw):
    """Write what `fetch_data` notes about the files that lie there."""
    hashes = {str(path.relative_to(raw)): sha256(path) for path in raw.rglob("*") if path.is_file()}
    (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))


def test_an_unknown_parameter(project):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("  recipe: clean", "  recipy: clean"))
    refused(run(project, "split_spam"), "params.yaml", "split_spam.recipy: unknown parameter")


def test_a_missing_sample_file(project):
    (project / "data/sample/instruction-data.json").unlink()
    refused(run(project, "fetch_data"), "instruction-data.json", "file not found")
    assert not (project / "data/raw").exists()
    assert [path.name for path in (project / "data").iterdir()] == ["sample"]


def test_a_file_that_was_changed_after_it_was_fetched(prepared):
    project = prepared
    path = project / "data/raw/text.txt"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    refused(run(project, "pretrain"), "data/raw/text.txt", "expected sha256", "dvc repro -f fetch_data")
    assert not (project / "models/pretrain").exists()


def test_a_malformed_message(project):
    raw = project / "data/raw"
    raw.mkdir()
    (raw / "SMSSpamCollection").write_text("ham\thello\nspam no tab here\n")
    note_hashes(raw)
    refuses(split_messages, project, "SMSSpamCollection, line 2", "one tab", "found 0")
    assert not (project / "data/spam").exists()
    assert not (project / "metrics").exists()


def test_a_column_that_is_not_there(project):
    (project / "data/reviews.csv").write_text("text,label\ngood,1\nbad,0\n")
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["classify"]["data"] = {"path": "data/reviews.csv", "text": "review", "label": "label"}
    path.write_text(yaml.safe_dump(params))
    refuses(split_messages, project, "data/reviews.csv", "a column 'review'", "found the columns ['text', 'label']")
    assert not (project / "data/spam").exists()


def test_a_text_shorter_than_one_context(project):
    raw = project / "data/raw"
    shutil.copytree(project / "data/sample/bpe", raw / "bpe")
    (raw / "text.txt").write_text("Every effort moves you.")
    note_hashes(raw)
    refuses(pretrain, project, "training text: expected more than one context of 64 tokens")
    assert not (project / "models").exists()


def test_sequences_longer_than_the_models_context(prepared):
    project = prepared
    set_params(project / "params.yaml", {"instruct.max_length": 300})
    refuses(instruct, project, "instruct.max_length", "gpt2/tiny, 256 tokens, found 300")
    assert not (project / "models/instruct").exists()


def test_a_base_model_with_a_missing_tensor(prepared):
    project = prepared
    path = project / "models/gpt2/tiny/model.safetensors"
    tensors = load_file(path)
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, path)
    refuses(classify, project, "model.safetensors", "h.1.mlp.c_fc.weight")
    assert not (project / "models/classifier").exists()
