"""`evaluate.weights` reaches the models that are measured and that write."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.curves import read_curve
from gpt_from_scratch.files.writing import read_json, sha256, write_csv, write_json
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.recipes import evaluate as recipe
from gpt_from_scratch.recipes.evaluate import evaluate_instructions, evaluate_language, load_for_evaluation
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.huggingface import save_model


@pytest.fixture
def work_with(root, tmp_path):
    """Makes a workspace with a random model, twenty instructions and no tracker, for the weights asked for."""
    torch.manual_seed(1)
    model = GPTModel(GPTConfig(vocab_size=1536, context_length=256, emb_dim=32, n_heads=2, n_layers=2))
    raw = tmp_path / "data/raw"
    for folder in (raw, tmp_path / "metrics", tmp_path / "models/pretrain", tmp_path / "models/instruct"):
        folder.mkdir(parents=True)
    for name in ("pretrain", "instruct"):
        save_model(model, tmp_path / "models" / name, root / "data/sample/bpe")
    entries = json.loads((root / "data/sample/instruction-data.json").read_text(encoding="utf-8"))[:20]
    (raw / "instruction-data.json").write_text(json.dumps(entries))
    hashes = {"instruction-data.json": sha256(raw / "instruction-data.json")}
    (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))
    params = load_params(root / "params.yaml")

    def make(weights):
        changes = {"response_tokens": 3, "answers_at_once": 1, "weights": weights}
        changed = params.model_copy(update={"evaluate": params.evaluate.model_copy(update=changes)})
        return Workspace(tmp_path, changed)

    return make


def test_the_instruction_model_is_measured_with_the_weights_asked_for(work_with):
    losses = {
        weights: evaluate_instructions(work_with(weights), torch.device("cpu"))["response_loss"]
        for weights in ("fp32", "int8")
    }
    assert losses["fp32"] != losses["int8"]
    assert losses["fp32"] == pytest.approx(losses["int8"], rel=0.01)


def test_so_is_the_language_model(work_with):
    model = load_for_evaluation(work_with("int8"), "pretrain", torch.device("cpu"))
    assert type(model.out_head).__name__ == "Int8Linear"
    assert "load_for_evaluation" in evaluate_language.__code__.co_names


def test_the_curve_in_bits_per_byte_has_the_bytes_of_the_whole_parts(work_with, root, tmp_path):
    text = tmp_path / "data/raw/text.txt"
    text.write_bytes((root / "data/sample/the-lighthouse.txt").read_bytes())
    write_json(text.with_name("sources.json"), {"data": "sample", "sha256": {"text.txt": sha256(text)}})
    losses = {"train": 2.0, "validation": 0.0}
    row = {f"{part}_loss": loss for part, loss in losses.items()}
    write_csv(tmp_path / "metrics/plots/pretrain.csv", [{"step": 0, **row}])
    found = evaluate_language(work_with("fp32"), torch.device("cpu"))
    (row,) = read_curve(tmp_path / "metrics/plots/perplexity.csv")
    for part, loss in losses.items():
        bits = loss * found[f"{part}_bits_per_byte"] / found[f"{part}_loss"]
        assert row[f"{part}_bits_per_byte"] == pytest.approx(bits, rel=1e-6)
        assert row[f"{part}_perplexity"] == pytest.approx(math.exp(loss))


def test_what_is_noted_for_benchmarks_and_judges_stands_where_it_belongs(work_with, tmp_path, monkeypatch):
    """The hashes of the benchmarked pretrained model beside the others', and no judges' scores from the data."""
    work, metrics = work_with("fp32"), tmp_path / "metrics"
    changes = {"benchmarks": ["lambada", "wikitext"], "benchmark_stride": 256}
    changed = work.params.evaluate.model_copy(update=changes)
    monkeypatch.setattr(recipe, "evaluate_language", lambda *_: {"measured": {"weights": "language"}})
    monkeypatch.setattr(recipe, "evaluate_classifier", lambda *_: {"measured": {"weights": "classifier"}})
    for name in ("classify", "instruct"):
        write_json(metrics / f"finetune_{name}.json", {"pretrained": "none"})
    (tmp_path / "data/benchmarks").mkdir()
    (tmp_path / "data/benchmarks/lambada.jsonl").write_text('{"text": "The sea"}')
    (tmp_path / "data/benchmarks/wiki.test.raw").write_text(" = Sea = \n\n The sea . \n")
    entries = json.loads((work.raw / "instruction-data.json").read_text())
    write_json(work.raw / "instruction-data.json", [entry | {"scores": [1, 2]} for entry in entries])
    hashes = {"instruction-data.json": sha256(work.raw / "instruction-data.json")}
    write_json(work.raw / "sources.json", {"data": "sample", "sha256": hashes})
    recipe.evaluate(replace(work, params=work.params.model_copy(update={"evaluate": changed})))
    assert "measured" not in read_json(metrics / "evaluation.json")["benchmarks"]
    assert read_json(metrics / "tables/models.json")["pretrain"] == {"weights": "language"}
    assert "scores" not in read_json(metrics / "responses.json")[0]
    changed = changed.model_copy(update={"benchmark_stride": 257})  # would leave out what no window covers
    with pytest.raises(InputError, match=r"evaluate\.benchmark_stride: expected at most the context .*256 tokens"):
        recipe.evaluate(replace(work, params=work.params.model_copy(update={"evaluate": changed})))
