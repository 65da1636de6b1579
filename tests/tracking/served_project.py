"""A project whose three tiny models can be registered, made without a training."""

from __future__ import annotations

from pathlib import Path

import torch

from gpt_from_scratch.evaluation.measured import MEASURED, PARTS, measured
from gpt_from_scratch.files.writing import read_json, write_json
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.heads import set_classification_head
from gpt_from_scratch.weights.classifier import save_classifier
from gpt_from_scratch.weights.huggingface import save_model

LABELS = ("ham", "spam")
LONGEST = 32
SHAPE = GPTConfig(vocab_size=1536, context_length=128, emb_dim=16, n_heads=2, n_layers=2, drop_rate=0.0)


def make_project(folder: Path, root: Path) -> None:
    """Fill a folder with parameters, metrics and models; `root` is the project whose sample tokenizer is taken."""
    for name in ("params.yaml", "dvc.yaml"):
        (folder / name).write_bytes((root / name).read_bytes())
    write_json(folder / "data/raw/sources.json", {"data": "sample", "sha256": {"text.txt": "0" * 64}})
    for stage in ("pretrain", "finetune_classify", "finetune_instruct"):
        write_json(folder / f"metrics/{stage}.json", {"data": "sample"})
    tokenizer = root / "data/sample/bpe"
    for number, name in enumerate(("pretrain", "instruct", "classifier")):
        make_model(folder / "models" / name, tokenizer, number)
    write_evaluation(folder)


def make_model(folder: Path, tokenizer: Path, seed: int) -> None:
    """Write a model with random weights; a classifier under that name."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    model = GPTModel(SHAPE)
    # Weights so small as a new model's hardly look at the text.
    for parameter in model.parameters():
        parameter.data.mul_(6.0)
    facts = {"data": "sample", "pretrained": "none"}
    if folder.name != "classifier":
        save_model(model, folder, tokenizer, facts)
        return
    set_classification_head(model, len(LABELS))
    options = {"labels": LABELS, "max_length": LONGEST, "pad_id": 1535, "deciding_token": "last"}
    save_classifier(model, folder, tokenizer, facts=facts, **options)


def write_evaluation(
    folder: Path, accuracy: float = 0.9, response_loss: float = 2.0, loss: float = 5.0, test_set: str = "texts"
) -> None:
    """Write the metrics that decide the champions, and which of the models that are here they were measured on."""
    evaluation = {
        "data": "sample",
        "pretrained": "none",
        "language_model": {"validation_loss": loss, "validation_bits_per_byte": loss / 3},
        "classifier": {"test": {"accuracy": accuracy}},
        "instructions": {"response_loss": response_loss, "response_bits_per_byte": response_loss / 2},
    }
    write_json(folder / "metrics/evaluation.json", evaluation)
    path = folder / "metrics" / MEASURED
    noted = read_json(path) if path.exists() else {}
    there = [name for name in PARTS if (folder / "models" / name / "model.safetensors").exists()]
    write_json(path, noted | {name: measured(folder / "models" / name, test_set) for name in there})
