"""The results as a table for the terminal: the output of `gpt results`, with which `make repro` ends."""

from __future__ import annotations

import logging
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments.published import published_rows
from gpt_from_scratch.files.writing import read_json

if TYPE_CHECKING:
    from gpt_from_scratch.training.tracker import Tracker

log = logging.getLogger(__name__)

_WIDTHS = (15, 46, 13, 13, 13)
_LONGEST_LINE = 100
BASELINE = "TF-IDF + logistic regression"
_NAMES = {"f1": "F1", "roc_auc": "ROC AUC", "rouge_l": "ROUGE-L"}


def results_table(root: Path) -> str:
    """Return the figures of `metrics/evaluation.json`, and those that are published beside ours.

    Raises:
        InputError: when the file is missing or not JSON, or a study is not valid.
    """
    evaluation = read_json(root / "metrics" / "evaluation.json")
    lines = [f"data: {evaluation['data']}    pretrained: {evaluation['pretrained']}", ""]
    lines += [_line(_WIDTHS, *row) for row in own_rows(evaluation)]
    columns, rows = classifier_rows(evaluation["classifier"])
    widths = (46, *(max(10, len(column) + 2) for column in columns))
    lines += ["", *(_line(widths, *row, left=1) for row in (["classifier", *columns], *rows))]
    rows = [row for row in published_rows(root) if row["step"] is None]  # curves would bury the others
    if not rows:
        return "\n".join(lines)
    head = _line(_WIDTHS, "beside the book", "", "ours", "published", "difference")
    lines += ["", head, "-" * sum(_WIDTHS)]
    notes = list(dict.fromkeys(row["note"] for row in rows if row["note"]))
    for row in rows:
        mark = f" [{notes.index(row['note']) + 1}]" if row["note"] else ""
        values = (figure_text(row[key], row["decimals"]) for key in ("ours", "published", "difference"))
        lines.append(_line(_WIDTHS, row["training"], row["figure"] + mark, *values))
    for number, note in enumerate(notes, start=1):
        lines += textwrap.wrap(f"[{number}] not comparable: {note}", _LONGEST_LINE, subsequent_indent="    ")
    return "\n".join(lines)


def own_rows(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield our figures of the language model and the instructions: training, name of the figure, its value as text."""
    instructions = dict(evaluation["instructions"])
    judges, correlations = instructions.pop("judges", {}), instructions.pop("judge_correlations", [])
    for training, prefix, figures in (
        ("pretraining", "", evaluation["language_model"]),
        ("instructions", "test ", instructions),
    ):
        for name, value in figures.items():
            if value is None or isinstance(value, int | float):
                yield training, f"{prefix}{_words(name)}", named_text(name, value)
    for name, verdict in judges.items():
        label = f"score by {name} ({verdict['scored']} answers, {verdict['unparsable']} unparsable)"
        yield "instructions", label, figure_text(verdict["mean"], 2)
    for pair in correlations:
        yield "instructions", f"rank correlation of {' and '.join(pair['judges'])}", figure_text(pair["spearman"])


def classifier_rows(classifier: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the classifier's figures as a table: names of the columns, and a row of texts for each split.

    Below the splits stand those of the baseline on the same messages.
    """
    splits = {_words(name): figures for name, figures in classifier.items() if name != "baseline"}
    splits |= {f"{_words(name)}, {BASELINE}": found for name, found in classifier.get("baseline", {}).items()}
    scalars = {name: {k: v for k, v in row.items() if not isinstance(v, Mapping)} for name, row in splits.items()}
    keys = list(dict.fromkeys(["messages", "accuracy", *(key for row in scalars.values() for key in row)]))
    rows = [[name, *(named_text(key, row.get(key)) for key in keys)] for name, row in scalars.items()]
    return [_words(key) for key in keys], rows


def figure_text(value: float | int | None, decimals: int | None = None) -> str:
    """Return a figure as the tables show it."""
    if value is None:
        return "-"
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if abs(value) >= 1000 else f"{value:.4f}"


def named_text(name: str, value: float | int | None) -> str:
    """Return a figure with the rounding of its kind: accuracies in per cent, losses and perplexities."""
    if isinstance(value, float):
        if name.endswith("accuracy"):
            return f"{value:.1%}".replace("%", " %")
        for kind, decimals in (("loss", 3), ("perplexity", 1)):
            if name.endswith(kind):
                return figure_text(value, decimals)
    return figure_text(value)


def log_published(root: Path, tracker: Tracker) -> None:
    """Log the published figures beside ours; a study that is not valid is only warned of."""
    try:
        tracker.table(published_rows(root), "published.json")
    except InputError as error:
        log.warning("no comparison with the published figures: %s", error)


def _words(key: str) -> str:
    return _NAMES.get(key) or re.sub(r"^train\b", "training", key.replace("_", " "))


def _line(widths: Sequence[int], *cells: str, left: int = 2) -> str:
    places = enumerate(zip(cells, widths, strict=False))
    return "".join(cell.ljust(width) if n < left else cell.rjust(width) for n, (cell, width) in places).rstrip()
