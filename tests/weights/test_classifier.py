"""Classifier folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import GPT2Model

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.model.heads import set_causal
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.classifier import ClassifierInfo, load_classifier, save_classifier


@pytest.fixture
def classifier(random_model) -> GPTModel:
    model = random_model()
    torch.manual_seed(1)
    model.out_head = nn.Linear(32, 2)
    return model.eval()


@pytest.fixture
def folder(tmp_path, classifier, tokenizer_folder) -> Path:
    save(classifier, tmp_path / "classifier", tokenizer_folder)
    return tmp_path / "classifier"


def save(model, folder, tokenizer_folder) -> None:
    folder.mkdir()
    save_classifier(
        model,
        folder,
        tokenizer_folder,
        labels=["ham", "spam"],
        max_length=12,
        pad_id=299,
        deciding_token="last_real",
        facts={"pretrained": "none"},
    )


@torch.no_grad()
def test_there_and_back(folder, classifier, ids) -> None:
    loaded, info = load_classifier(folder)
    assert info == ClassifierInfo(("ham", "spam"), 12, 299, "last_real", {"pretrained": "none"})
    assert not loaded.training
    assert loaded(ids).shape == (2, 12, 2)
    assert torch.allclose(loaded(ids), classifier(ids), rtol=0.0, atol=1e-5)
    assert list(loaded.state_dict()) == list(classifier.state_dict())
    assert all(torch.equal(loaded.state_dict()[name], values) for name, values in classifier.state_dict().items())
    assert load_tokenizer(folder).n_vocab == 300


@torch.no_grad()
def test_transformers_reads_the_body(folder, classifier, ids) -> None:
    body = GPT2Model.from_pretrained(folder).eval()
    assert torch.allclose(body(ids).last_hidden_state, classifier.hidden_states(ids), rtol=0.0, atol=1e-4)
    head = load_file(folder / "model.safetensors")
    assert torch.equal(head["score.weight"], classifier.out_head.weight)
    assert torch.equal(head["score.bias"], classifier.out_head.bias)


def test_equal_models_give_equal_bytes(folder, tmp_path, classifier, tokenizer_folder) -> None:
    save(classifier, tmp_path / "again", tokenizer_folder)
    for path in folder.iterdir():
        assert sha256(path) == sha256(tmp_path / "again" / path.name), path.name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["ham"]}, r"labels: expected at least two names, found \['ham'\]"),
        ({"labels": ["ham", 1]}, "labels: expected at least two names"),
        ({"max_length": 17}, "max_length: expected a whole number from 1 to 16, found 17"),
        ({"max_length": 12.0}, "max_length: expected a whole number from 1 to 16, found 12.0"),
        ({"pad_id": 300}, "pad_id: expected a whole number from 0 to 299, found 300"),
        ({"threshold": 1}, "expected a JSON object with the keys causal, deciding_token, labels, max_length"),
        ({"deciding_token": "middle"}, "deciding_token: expected one of last, last_real, first, mean, found 'middle'"),
        ({"deciding_token": ["last"]}, r"deciding_token: expected one of .*, found \['last'\]"),
        ({"causal": 1}, "causal: expected true or false, found 1"),
    ],
)
def test_a_description_that_is_wrong(folder, changes, message) -> None:
    path = folder / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=rf"classifier\.json: {message}"):
        load_classifier(folder)


def test_a_folder_from_before_there_was_a_choice_decides_at_the_last_token(folder) -> None:
    path = folder / "classifier.json"
    content = json.loads(path.read_text())
    del content["deciding_token"], content["causal"]
    path.write_text(json.dumps(content))
    info = load_classifier(folder)[1]
    assert (info.deciding_token, info.causal) == ("last", True)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_a_loaded_classifier_sees_what_it_saw(tmp_path, classifier, tokenizer_folder, ids, causal) -> None:
    set_causal(classifier, causal)
    save(classifier, tmp_path / "classifier", tokenizer_folder)
    loaded, info = load_classifier(tmp_path / "classifier")
    assert info.causal == loaded.config.causal == causal
    torch.testing.assert_close(loaded(ids), classifier(ids), rtol=0, atol=1e-5)
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 300
    assert torch.allclose(loaded(ids)[:, 0], loaded(changed)[:, 0]) == causal


def test_labels_that_do_not_fit_the_head(folder) -> None:
    path = folder / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": ["ham", "spam", "eggs"]}))
    with pytest.raises(InputError, match=r"tensor score\.weight: expected shape \[3, 32\], found \[2, 32\]"):
        load_classifier(folder)


def test_a_language_model_is_no_classifier(tmp_path, random_model, tokenizer_folder) -> None:
    from gpt_from_scratch.weights.huggingface import load_model, save_model

    save_model(random_model(), tmp_path, tokenizer_folder)
    with pytest.raises(InputError, match=r"classifier\.json: file not found"):
        load_classifier(tmp_path)
    assert load_model(tmp_path)
