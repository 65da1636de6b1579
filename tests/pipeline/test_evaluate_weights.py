"""`evaluate.weights` reaches the models that are measured and that write."""

from __future__ import annotations

import json
import runpy
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.weights.huggingface import save_model


@pytest.fixture
def stage_with(root, tmp_path):
    """Makes a stage with a random model, twenty instructions and no tracker, for the weights asked for."""
    torch.manual_seed(1)
    model = GPTModel(GPTConfig(vocab_size=1536, context_length=256, emb_dim=32, n_heads=2, n_layers=2))
    for name in ("raw", "metrics", "pretrain", "instruct"):
        (tmp_path / name).mkdir()
    for name in ("pretrain", "instruct"):
        save_model(model, tmp_path / name, root / "data/sample/bpe")
    entries = json.loads((root / "data/sample/instruction-data.json").read_text(encoding="utf-8"))[:20]
    (tmp_path / "raw/instruction-data.json").write_text(json.dumps(entries))
    hashes = {"instruction-data.json": sha256(tmp_path / "raw/instruction-data.json")}
    (tmp_path / "raw/sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))
    params = load_params(root / "params.yaml")

    def make(weights):
        changes = {"response_tokens": 3, "answers_at_once": 1, "weights": weights}
        return SimpleNamespace(
            params=params.model_copy(update={"evaluate": params.evaluate.model_copy(update=changes)}),
            models=tmp_path,
            raw=tmp_path / "raw",
            metrics=tmp_path / "metrics",
            run=MagicMock(),
            say_cut=MagicMock(),
        )

    return make


def test_the_instruction_model_is_measured_with_the_weights_asked_for(root, stage_with):
    evaluate = runpy.run_path(str(root / "stages/evaluate.py"), run_name="not_main")
    losses = {
        weights: evaluate["evaluate_instructions"](stage_with(weights), torch.device("cpu"))["response_loss"]
        for weights in ("fp32", "int8")
    }
    assert losses["fp32"] != losses["int8"]
    assert losses["fp32"] == pytest.approx(losses["int8"], rel=0.01)


def test_so_is_the_language_model(root, stage_with):
    evaluate = runpy.run_path(str(root / "stages/evaluate.py"), run_name="not_main")
    model = evaluate["load_for_evaluation"](stage_with("int8"), "pretrain", torch.device("cpu"))
    assert type(model.out_head).__name__ == "Int8Linear"
    assert "load_for_evaluation" in evaluate["evaluate_language"].__code__.co_names
