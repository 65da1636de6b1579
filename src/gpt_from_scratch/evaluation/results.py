"""The results as a table for the terminal: what `make repro` ends with."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt_from_scratch.files.writing import read_json

_WIDTHS = (15, 44, 13, 13, 14)
_LONGEST_LINE = 100


def results_table(metrics_folder: Path) -> str:
    """Return the headline figures of `metrics/evaluation.json`, the published ones beside them.

    Raises:
        InputError: when the file is missing or not JSON.
    """
    evaluation = read_json(metrics_folder / "evaluation.json")
    lines = [f"data: {evaluation['data']}    pretrained: {evaluation['pretrained']}", ""]
    lines += [_line("", "figure", "ours", "published", "difference"), "-" * sum(_WIDTHS)]
    lines += [_line(*row) for row in own_rows(evaluation)]
    lines += ["", "beside the book's figures:"]
    notes: list[str] = []
    for row in evaluation["published"]:
        if " at step " in row["figure"]:
            continue  # a line for each would bury the others; the file has them
        mark = ""
        if row["note"]:
            if row["note"] not in notes:
                notes.append(row["note"])
            mark = f" [{notes.index(row['note']) + 1}]"
        values = (figure_text(row[key]) for key in ("ours", "published", "difference"))
        lines.append(_line(row["training"], row["figure"] + mark, *values))
    for number, note in enumerate(notes, start=1):
        lines += textwrap.wrap(f"[{number}] not comparable: {note}", _LONGEST_LINE, subsequent_indent="    ")
    return "\n".join(lines)


def own_rows(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield our own figures: the training, the figure's name, its value as text."""
    language, classifier = evaluation["language_model"], evaluation["classifier"]
    for name in ("train_loss", "validation_loss", "validation_perplexity"):
        yield "pretraining", name.replace("_", " "), figure_text(language[name])
    for name, metrics in classifier.items():
        if name != "baseline":
            label = f"{name.replace('_', ' ')} accuracy ({metrics['messages']} messages)"
            yield "classification", label, figure_text(metrics["accuracy"])
    yield (
        "classification",
        "test accuracy, TF-IDF + logistic regression",
        figure_text(classifier["baseline"]["test"]["accuracy"]),
    )
    instructions = dict(evaluation["instructions"])
    judges, correlations = instructions.pop("judges", {}), instructions.pop("judge_correlations", [])
    for name, value in instructions.items():
        yield "instructions", f"test {name.replace('_', ' ')}", figure_text(value)
    for name, verdict in judges.items():
        label = f"score by {name} ({verdict['scored']} answers, {verdict['unparsable']} unparsable)"
        yield "instructions", label, figure_text(verdict["mean"])
    for pair in correlations:
        names = " and ".join(pair["judges"])
        yield "instructions", f"rank correlation of {names}", figure_text(pair["spearman"])


def figure_text(value: float | int | None) -> str:
    """Return a figure as the tables show it."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if abs(value) >= 1000 else f"{value:.4f}"


def _line(*cells: str) -> str:
    padded = [*cells, *[""] * (len(_WIDTHS) - len(cells))]
    left = "".join(cell.ljust(width) for cell, width in zip(padded[:2], _WIDTHS[:2], strict=True))
    right = "".join(cell.rjust(width) for cell, width in zip(padded[2:], _WIDTHS[2:], strict=True))
    return (left + right).rstrip()
