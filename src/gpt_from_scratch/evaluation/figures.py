"""An evaluation's figures: its scalars by name, their order, their labels and their rounding, for whoever shows them.

Whatever number an evaluation returns is a figure, in the metrics file, MLflow, `gpt results` and the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpt_from_scratch.files.nested import flatten

HEADLINES = ("language_model/validation_loss", "classifier/test/accuracy", "instructions/response_loss")
"""The figures that stand first; one for each model."""

_PHRASES = {
    "train": "training",
    "language_model": "pretraining",
    "classifier": "classification",
    "baseline": "TF-IDF + logistic regression",
    "rouge_l": "ROUGE-L",
    "roc_auc": "ROC AUC",
    "f1": "F1",
}
_FRACTIONS = ("accuracy", "match")


def figures(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a nested result as `section/name`: the headlines, then those nearest to the root."""
    leaves = {
        name: value
        for name, value in flatten(evaluation, "/").items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    first = [name for name in HEADLINES if name in leaves]
    return {name: leaves[name] for name in [*first, *leaves]}


def label(name: str) -> str:
    """Return a figure's name, or a part of it, in words."""
    return " ".join(
        _PHRASES.get(part, part.replace("train_", "training_").replace("_", " ")) for part in name.split("/")
    )


def figure_text(value: float | None, name: str = "", decimals: int | None = None) -> str:
    """Return a figure as it is shown: accuracies in percent, perplexities with one decimal, others with three.

    Args:
        name: of the figure.
        decimals: shown whatever the name says.
    """
    if value is None:
        return "-"
    if decimals is None:
        if isinstance(value, int):
            return f"{value:,}"
        if any(word in name for word in _FRACTIONS):
            return f"{100 * value:.1f} %"
        decimals = 1 if "perplexity" in name else 3
    return f"{value:,.{decimals}f}"


def figure_tables(evaluation: Mapping[str, Any]) -> dict[str, dict[str, dict[str, str]]]:
    """Return the figures as tables: title, row, column, text; a section's own figures are rows of one column."""
    tables: dict[str, dict[str, dict[str, str]]] = {}
    found = figures(evaluation)
    sections = list(dict.fromkeys(name.split("/")[0] for name in found))
    for name in sorted(found, key=lambda name: sections.index(name.split("/")[0])):
        *above, last = name.split("/")
        text = figure_text(found[name], last)
        if len(above) < 2:
            tables.setdefault(", ".join(map(label, above)), {}).setdefault(label(last), {})["value"] = text
        else:
            rows = tables.setdefault(", ".join(map(label, above[:-1])), {})
            rows.setdefault(label(above[-1]), {})[label(last)] = text
    return tables
