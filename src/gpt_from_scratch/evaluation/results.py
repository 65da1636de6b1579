"""The results as tables for the terminal: `gpt results`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from gpt_from_scratch.evaluation.figures import figure_tables, figure_text
from gpt_from_scratch.files.writing import read_json

_LABEL_WIDTH = 28
_WIDTHS = (15, 44, 13, 13, 14)
_LONGEST_LINE = 100


def results_table(metrics_folder: Path) -> str:
    """Return the figures of `metrics/evaluation.json`, and the published ones beside ours.

    Raises:
        InputError: when the file is missing or not JSON.
    """
    evaluation = read_json(metrics_folder / "evaluation.json")
    lines = [f"data: {evaluation['data']}    pretrained: {evaluation['pretrained']}"]
    for title, rows in figure_tables(evaluation).items():
        lines += ["", *_table(title, rows)]
    lines += ["", _line("the book", "figure", "ours", "published", "difference"), "-" * sum(_WIDTHS)]
    notes: list[str] = []
    for row in evaluation["published"]:
        if " at step " in row["figure"]:
            continue  # a line for each would bury the others; the file has them
        mark = ""
        if row["note"]:
            if row["note"] not in notes:
                notes.append(row["note"])
            mark = f" [{notes.index(row['note']) + 1}]"
        values = (figure_text(row[key], row["figure"]) for key in ("ours", "published", "difference"))
        lines.append(_line(row["training"], row["figure"] + mark, *values))
    for number, note in enumerate(notes, start=1):
        lines += textwrap.wrap(f"[{number}] not comparable: {note}", _LONGEST_LINE, subsequent_indent="    ")
    return "\n".join(lines)


def _table(title: str, rows: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [dict(zip(columns, columns, strict=True)), *rows.values()]
    widths = {column: max(len(row.get(column, "")) for row in cells) + 2 for column in columns}
    if len(title) > _LABEL_WIDTH:
        yield title
        title = ""
    for name, row in zip([title, *(f"  {name}" for name in rows)], cells, strict=True):
        yield name.ljust(_LABEL_WIDTH) + "".join(row.get(column, "").rjust(widths[column]) for column in columns)


def _line(*cells: str) -> str:
    left = "".join(cell.ljust(width) for cell, width in zip(cells[:2], _WIDTHS[:2], strict=True))
    right = "".join(cell.rjust(width) for cell, width in zip(cells[2:], _WIDTHS[2:], strict=True))
    return (left + right).rstrip()
