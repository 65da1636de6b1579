"""The figures that `evaluate` measured on a model folder, as they stand in the project's metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import read_json

_WHERE: dict[str, dict[str, tuple[str, ...]]] = {
    "pretrain": {
        "training loss": ("language_model", "train_loss"),
        "validation loss": ("language_model", "validation_loss"),
        "validation perplexity": ("language_model", "validation_perplexity"),
    },
    "classifier": {
        "test accuracy": ("classifier", "test", "accuracy"),
        "test accuracy, unlike any trained on": ("classifier", "test_unseen", "accuracy"),
        "test F1": ("classifier", "test", "f1"),
        "test ROC AUC": ("classifier", "test", "roc_auc"),
    },
    "instruct": {
        "response loss": ("instructions", "response_loss"),
        "exact answers": ("instructions", "exact_match"),
        "ROUGE-L": ("instructions", "rouge_l"),
    },
}


def role(folder: Path) -> str | None:
    """Return which of the pipeline's trained models a folder is, by its place in a project; None for others."""
    folder = folder.resolve()
    inside = folder.parent.name == "models" and (folder.parent.parent / "dvc.yaml").is_file()
    return folder.name if inside and folder.name in _WHERE else None


def headline(folder: Path) -> dict[str, float]:
    """Return the evaluation's main figures on a model by name; none for a folder that is not the pipeline's own."""
    found: dict[str, float] = {}
    name = role(folder)
    if name is None:
        return found
    try:
        results: Any = read_json(folder.resolve().parent.parent / "metrics" / "evaluation.json")
    except InputError:  # not evaluated yet
        return found
    for label, keys in _WHERE[name].items():
        value = results
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[label] = float(value)
    return found
