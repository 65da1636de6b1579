"""An evaluation's figures: its scalars by name, their order, their labels and their rounding, for whoever shows them.

Whatever number an evaluation returns is a figure, in the metrics file, MLflow, `gpt results` and the report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gpt_from_scratch.evaluation.confidence import wilson
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
_COUNTS = ("messages", "entries", "items")


def figures(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a nested result as `section/name`: the headlines, then those nearest to the root."""
    leaves = {
        name: value
        for name, value in flatten(evaluation, "/").items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    first = [name for name in HEADLINES if name in leaves]
    return {name: leaves[name] for name in [*first, *leaves]}


def headline(evaluation: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return names, texts and intervals of an evaluation's six headline figures; fewer where models are not evaluated.

    See `interval`.
    """
    found = figures(evaluation)
    judged = [name for name in found if JUDGED.fullmatch(name)]
    names = [*HEADLINES[:-1], *judged[:1]] if judged else HEADLINES
    return [(label(name), figure_text(found[name], name), interval(found, name)) for name in names if name in found]


def label(name: str, batches: int | None = None) -> str:
    """Return a figure's name, or a part of it, in words; with the number of batches, where it was measured on few."""
    words = (_PHRASES.get(part, part.replace("train_", "training_").replace("_", " ")) for part in name.split("/"))
    return " ".join([*words, *([f"({batches} batches)"] if batches else [])])


def figure_text(value: float | None, name: str = "", decimals: int | None = None) -> str:
    """Return a figure as it is shown: accuracies in percent, perplexities with one decimal, others with three.

    Learning rates, which are small, have three significant digits, and so has what is larger than a trained model's.

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
        if name == "lr" or abs(value) >= 1e12:
            return f"{value:.3g}"
        decimals = 1 if "perplexity" in name else 3
    return f"{value:,.{decimals}f}"


def interval(found: Mapping[str, float], name: str) -> str:
    """Return the 95 % interval of an accuracy among figures, as "89.4–97.2 %"; nothing for what is no share of items.

    The number of items stands beside it.
    """
    section, _, last = name.rpartition("/")
    counts = [found.get(f"{section}/{count}".lstrip("/")) for count in _COUNTS]
    items = next(filter(None, counts), None)
    if items is None or not any(word in last for word in _FRACTIONS):
        return ""
    low, high = wilson(found[name], int(items))
    return f"{100 * low:.1f}–{100 * high:.1f} %"


def with_interval(found: Mapping[str, float], name: str) -> str:
    """Return a figure's text, an accuracy's with its interval in brackets."""
    text, within = figure_text(found[name], name.rpartition("/")[2]), interval(found, name)
    return f"{text} ({within})" if within else text


def accuracy_text(right: str) -> str:
    """Return the accuracy of a model with its interval, from its `marks`."""
    found = {"accuracy": right.count("1") / len(right), "messages": len(right)}
    return f"{figure_text(found['accuracy'], 'accuracy')} (95 % interval {interval(found, 'accuracy')})"


def figure_tables(evaluation: Mapping[str, Any]) -> dict[str, dict[str, dict[str, str]]]:
    """Return the figures as tables: title, row, column, text; a section's own figures are rows of one column."""
    tables: dict[str, dict[str, dict[str, str]]] = {}
    found = figures(evaluation)
    sections = list(dict.fromkeys(name.split("/")[0] for name in found))
    for name in sorted(found, key=lambda name: sections.index(name.split("/")[0])):
        *above, last = name.split("/")
        text = with_interval(found, name)
        if len(above) < 2:
            tables.setdefault(", ".join(map(label, above)), {}).setdefault(label(last), {})["value"] = text
        else:
            rows = tables.setdefault(", ".join(map(label, above[:-1])), {})
            rows.setdefault(label(above[-1]), {})[label(last)] = text
    return tables
