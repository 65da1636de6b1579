"""Labelled texts of one's own: `classify.data` from a CSV of three classes to the evaluation."""

from __future__ import annotations

import json
import random
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn import metrics
from stage_project import copy_project

from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.pipeline.data_stages import split_messages
from gpt_from_scratch.pipeline.stage import read_declared
from gpt_from_scratch.recipes.classify import classify
from gpt_from_scratch.recipes.evaluate import evaluate_classifier
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.huggingface import save_model

WORDS = {"sports": "goal team match win", "weather": "rain sun wind cloud", "who else?": "vote law party state"}


def write_texts(path):
    """Three topics, 60 to 180 texts each, of words of their own, two that may mislead and some that say nothing."""
    chance = random.Random(1)
    any_words = " ".join(WORDS.values()).split()
    rows = [
        (
            " ".join([*chance.choices(words, k=2), *chance.choices(any_words, k=2), *chance.choices("abcdefgh", k=6)]),
            topic,
        )
        for topic, count in zip(WORDS, (180, 60, 90), strict=True)
        for words in [WORDS[topic].split()] * count
    ]
    chance.shuffle(rows)
    path.parent.mkdir()
    pd.DataFrame(rows, columns=["review, long", "topic"]).to_csv(path, index=False)


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder, "stages", "src", "dvc.yaml", "requirements.lock", "pyproject.toml")
    write_texts(folder / "data/topics.csv")
    (folder / "data/raw").mkdir()
    (folder / "data/raw/sources.json").write_text('{"data": "sample", "sha256": {}}')
    torch.manual_seed(1)
    model = GPTModel(GPTConfig(vocab_size=1536, context_length=64, emb_dim=32, n_heads=2, n_layers=1))
    (folder / "models/gpt2/tiny").mkdir(parents=True)
    save_model(model, folder / "models/gpt2/tiny", root / "data/sample/bpe", {"pretrained": "none"})
    params = yaml.safe_load((root / "profiles/quick.yaml").read_text(encoding="utf-8"))
    params["classify"] |= {
        "data": {"path": "data/topics.csv", "text": "review, long", "label": "topic"},
        "class_weights": "balanced",
        "epochs": 3,
        "drop_rate": 0.1,
        "optimizer": {"lr": 0.01, "weight_decay": 0.1},
    }
    params["split_spam"]["balance"] = False
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def workspace(project):
    return Workspace(project, load_params(project / "params.yaml"), MagicMock())


@pytest.fixture(scope="module")
def trained(project):
    """The project after the split and the training."""
    split_messages(workspace(project))
    classify(workspace(project))
    return project


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_sets_hold_every_class(trained):
    assert read(trained / "data/spam/labels.json") == sorted(WORDS)
    facts = read(trained / "metrics/split_spam.json")
    assert facts["data"] == "data/topics.csv"
    counts = read(trained / "metrics/tables/labels.json")
    assert {label: found["source"] for label, found in counts.items()} == {
        "sports": 180,
        "weather": 60,
        "who else?": 90,
    }
    train = pd.read_csv(trained / "data/spam/train.csv")
    source = pd.read_csv(trained / "data/topics.csv").drop_duplicates()
    topics = dict(zip(source["review, long"], source["topic"], strict=True))
    assert [topics[text] for text in train["Text"]] == [sorted(WORDS)[number] for number in train["Label"]]
    assert counts["weather"]["train"] == facts["splits"]["train"]["smallest_class"] == (train["Label"] == 1).sum() > 30


def test_the_classifier_learns_them(trained):
    assert read(trained / "models/classifier/classifier.json")["labels"] == sorted(WORDS)
    result = read(trained / "metrics/finetune_classify.json")
    assert result["data"] == "data/topics.csv"
    assert result["initial"]["validation_accuracy"] < 0.7 < result["last_epoch"]["validation_accuracy"]


def test_the_evaluation_measures_them(trained):
    results = evaluate_classifier(workspace(trained), torch.device("cpu"))
    rows = pd.read_csv(trained / "metrics/plots/confusion.csv")
    actual, predicted = (rows[name].replace("who_else_", "who else?") for name in ("actual", "predicted"))
    matrix = metrics.confusion_matrix(actual, predicted, labels=sorted(WORDS))
    test = results["test"]
    classes = read(trained / "metrics/tables/classes.json")["test"]
    assert matrix.tolist() == [[classes[a]["predicted"].get(p, 0) for p in sorted(WORDS)] for a in sorted(WORDS)]
    assert test["f1"] == pytest.approx(metrics.f1_score(actual, predicted, average="macro"))
    assert test["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
    assert 0.8 < test["accuracy"] < 1
    curve = pd.read_csv(trained / "metrics/plots/roc.csv")
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == pytest.approx(test["roc_auc"], abs=1e-6)
    assert results["baseline"]["test"]["accuracy"] > 0.9


def test_the_file_is_what_the_split_depends_on(project, monkeypatch):
    monkeypatch.chdir(project)
    declared = read_declared(project, "split_spam")
    assert project / "data/topics.csv" in declared.deps
    given = {"path": "data/topics.csv", "text": "review, long", "label": "topic"}
    assert declared.keys["classify"] == {"data": {**given, "header": True, "encoding": "utf-8"}}
