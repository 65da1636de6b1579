"""`gpt tokenize` and `gpt info`."""

from __future__ import annotations

import hashlib
import re
import shutil

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from gpt_from_scratch.commands.models import complete_model
from gpt_from_scratch.evaluation.measured import current_evaluation
from gpt_from_scratch.files.writing import read_json, write_json

TEXT = "The keeper's naïve café 🎉"


def test_tokenize_gives_the_ids_of_transformers_tokenizer(gpt, project) -> None:
    ids = AutoTokenizer.from_pretrained(project / "models/pretrain").encode(TEXT)
    assert gpt("tokenize", TEXT, "--ids").stdout.split() == [str(token) for token in ids]
    lines = gpt("tokenize", TEXT).stdout.splitlines()
    assert lines[-1] == f"{len(ids)} tokens, {len(TEXT)} characters"
    assert [int(line.split()[0]) for line in lines[:-1]] == ids
    assert "f0 9f" in " ".join(lines), "a part of a character is shown as bytes"


def test_there_and_back(gpt) -> None:
    ids = gpt("tokenize", "-", "--ids", input=TEXT).stdout
    assert gpt("tokenize", ids, "--decode").stdout == TEXT + "\n"


@pytest.mark.parametrize("ids", ["1 x", "1536", "-- -1"])
def test_ids_that_are_none(gpt, ids) -> None:
    result = gpt("tokenize", "--decode", *ids.split(maxsplit=1)) if ids[0] == "-" else gpt("tokenize", ids, "--decode")
    assert result.exit_code == 1
    assert "expected ids from 0 to 1535" in result.stderr


def test_info_of_a_language_model(gpt, project) -> None:
    said = dict(line.split("  ", 1) for line in gpt("info", "models/pretrain").stdout.splitlines())
    said = {name: value.strip() for name, value in said.items()}
    weights = sum(values.numel() for values in load_file(project / "models/pretrain/model.safetensors").values())
    assert said["weights"] == f"{weights:,}"
    assert said["memory"] == f"{4 * weights / 1e6:.1f} MB as fp32"
    assert said["validation loss"] == "4.250"
    assert (said["data"], said["pretrained"], said["layers"]) == ("sample", "none", "2, 2 heads, width 32")
    content = (project / "models/pretrain/model.safetensors").read_bytes()
    assert said["model.safetensors"].endswith(hashlib.sha256(content).hexdigest())


def test_info_of_a_classifier(gpt, project) -> None:
    weights = sum(values.numel() for values in load_file(project / "models/spotter/model.safetensors").values())
    said = gpt("info", "spotter").stdout
    assert f"{weights:,}" in said
    assert "the text's own last token" in said
    assert "test accuracy" not in said, "the figures are another model's"
    assert "test accuracy" in gpt("info", "classifier").stdout


def test_a_figure_is_shown_with_the_model_it_was_measured_on_alone(gpt, project, tmp_path, monkeypatch) -> None:
    copy = shutil.copytree(project, tmp_path / "copy")
    monkeypatch.chdir(copy)
    for name, figure in (("pretrain", "validation loss"), ("classifier", "test accuracy")):
        assert re.search(rf"^{figure} ", gpt("info", name).stdout, re.M)
        weights = load_file(copy / "models" / name / "model.safetensors")
        save_file({key: 2 * value for key, value in weights.items()}, copy / "models" / name / "model.safetensors")
        said = gpt("info", name).stdout
        assert figure not in said
        assert re.search(r"^figures +not evaluated as it is; run dvc repro$", said, re.M)
        assert gpt("export", name, tmp_path / name).exit_code == 0
        card = (tmp_path / name / "README.md").read_text()
        assert "Not evaluated" in card
        assert figure not in card
    evaluation = {"data": "sample", "pretrained": "none", **read_json(copy / "metrics/evaluation.json")}
    write_json(copy / "metrics/evaluation.json", evaluation)
    found, changed = current_evaluation(copy)
    assert (set(found), changed) == ({"data", "pretrained"}, ["pretrain", "classifier"])
    shutil.rmtree(copy / "models")  # as in a fresh clone
    assert current_evaluation(copy) == (evaluation, [])


def test_completion_knows_the_models(project, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(project / "models")
    assert complete_model("models/p") == ["models/pretrain"]
    assert len(complete_model("")) == len(list((project / "models").iterdir()))
    monkeypatch.chdir(tmp_path)
    assert complete_model("") == []
