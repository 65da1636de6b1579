"""An evaluation's figures: its scalars by name, their order, their labels and their rounding, for whoever shows them.

Whatever number an evaluation returns is a figure, in the metrics file, MLflow, `gpt results` and the report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gpt_from_scratch.files.nested import flatten

HEADLINES = (
    "language_model/validation_loss",
    "language_model/validation_perplexity",
    "classifier/test/accuracy",
    "classifier/test/f1",
    "instructions/response_loss",
    "instructions/rouge_l",
)
"""The figures that stand first: two for each model."""
JUDGED = re.compile("instructions/judges/[^/]+/mean")
"""The first judge's score: a headline in the place of the last one, where answers were judged."""

_PHRASES = {
    "train": "training",
    "pretrain": "pretraining",
    "language_model": "pretraining",
    "classifier": "classification",
    "baseline": "TF-IDF + logistic regression",
    "rouge_l": "ROUGE-L",
    "lr": "learning rate",
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "lambada": "LAMBADA",
    "hellaswag": "HellaSwag",
    "wikitext": "WikiText",
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


def headline(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names and texts of an evaluation's six headline figures; of fewer where models are not evaluated."""
    found = figures(evaluation)
    judged = [name for name in found if JUDGED.fullmatch(name)]
    names = [*HEADLINES[:-1], *judged[:1]] if judged else HEADLINES
    return [(label(name), figure_text(found[name], name)) for name in names if name in found]


def label(name: str, batches: int | None = None) -> str:
    """Return a figure's name, or a part of it, in words; with the number of batches, where it was measured on few."""
    words = (_PHRASES.get(part, part.replace("train_", "training_").replace("_", " ")) for part in name.split("/"))
    return " ".join([*words, *([f"({batches} batches)"] if batches else [])])


def figure_text(value: float | None, name: str = "", decimals: int | None = None) -> str:
    """Return a figure as it is shown: accuracies in percent, perplexities with one decimal, others with three.

    Learning rates, which are small, have three significant digits.

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
        if name == "lr":
            return f"{value:.3g}"
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
