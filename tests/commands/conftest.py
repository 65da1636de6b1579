"""A project of three tiny random models, and the command run in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from gpt_from_scratch import cli
from gpt_from_scratch.evaluation.measured import MEASURED, PARTS, measured
from gpt_from_scratch.files.writing import write_json
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.heads import set_causal, set_classification_head
from gpt_from_scratch.weights.classifier import save_classifier
from gpt_from_scratch.weights.huggingface import save_model

SHAPE = {"vocab_size": 1536, "context_length": 96, "emb_dim": 32, "n_heads": 2, "n_layers": 2}


DECIDING = {"classifier": "last", "spotter": "last_real", "opener": "first", "averager": "mean", "seer": "first"}
"""The project's classifiers, and where each reads the class; the tokens of the last one see all of their text."""


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    """One thread, against the other rooms' two: two only wait for each other over models as small as these."""
    torch.set_num_threads(1)


def random_model(seed: int, **changes: object) -> GPTModel:
    torch.manual_seed(seed)
    model = GPTModel(GPTConfig(**{**SHAPE, "drop_rate": 0.0, "qkv_bias": True, **changes}))
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.3)
    return model.eval()


@pytest.fixture(scope="session")
def project(root, tmp_path_factory) -> Path:
    """A project with models/pretrain, instruct, classifier (the last padded token) and spotter (the last real one)."""
    folder, bpe = tmp_path_factory.mktemp("project"), root / "data/sample/bpe"
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "metrics").mkdir()
    figures = {"language_model": {"validation_loss": 4.25}, "classifier": {"test": {"accuracy": 0.875}}}
    (folder / "metrics/evaluation.json").write_text(json.dumps(figures))
    for seed, name in enumerate(("pretrain", "instruct", *DECIDING)):
        target = folder / "models" / name
        target.mkdir(parents=True)
        model = random_model(seed, tie_weights=name == "instruct")
        facts = {"data": "sample", "pretrained": "none"}
        if name in ("pretrain", "instruct"):
            save_model(model, target, bpe, facts)
            continue
        set_classification_head(model, 2)
        set_causal(model, name != "seer")
        about = {"labels": ("ham", "spam"), "max_length": 24, "pad_id": 1535, "deciding_token": DECIDING[name]}
        save_classifier(model, target, bpe, **about, facts=facts)
    noted = {name: measured(folder / "models" / name, "texts") for name in PARTS}
    write_json(folder / "metrics" / MEASURED, noted)
    return folder


@pytest.fixture
def gpt(project, monkeypatch) -> Callable[..., Any]:
    """Runs `gpt` with arguments in the project's folder."""
    monkeypatch.chdir(project)

    def run(*arguments: object, **options: object) -> Any:
        return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], **options)

    return run
