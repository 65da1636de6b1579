"""The results as tables for the terminal: the output of `gpt results`."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figure_tables, figure_text
from gpt_from_scratch.evaluation.measured import current_evaluation
from gpt_from_scratch.experiments.published import published_rows

if TYPE_CHECKING:
    from gpt_from_scratch.training.tracker import Tracker

log = logging.getLogger(__name__)

_WIDTHS = (15, 46, 13, 13, 13)
_LONGEST_LINE = 100
_LABEL_WIDTH = 28


def results_table(root: Path) -> str:
    """Return the figures of `metrics/evaluation.json`.

    Raises:
        InputError: when the file is missing or not JSON.
    """
    evaluation, changed = current_evaluation(root)
    lines = [f"data: {evaluation['data']}    pretrained: {evaluation['pretrained']}"]
    lines += [f"models/{name}: not evaluated as it is now; run dvc repro" for name in changed]
    for title, table in figure_tables(evaluation).items():
        lines += ["", *_table(title, table)]
    lines += ["", "In brackets: the 95 % interval of an accuracy on so many items (Wilson)."]
    return "\n".join(lines)


def book_table(root: Path) -> str:
    """Return the published figures beside ours; their difference where the two can be compared.

    Raises:
        InputError: when a study or a metrics file is not valid, or there is nothing published.
    """
    rows = [row for row in published_rows(root) if row["step"] is None]  # curves would bury the others
    if not rows:
        raise InputError(f"{root}: expected studies with published figures in experiments/ and profiles/book.yaml")
    lines = [_line("beside the book", "", "ours", "published", "difference"), "-" * sum(_WIDTHS)]
    notes = list(dict.fromkeys(row["note"] for row in rows if row["note"]))
    for row in rows:
        mark = f" [{notes.index(row['note']) + 1}]" if row["note"] else ""
        found = row if not row["note"] else {**row, "difference": None}
        values = (figure_text(found[key], decimals=row["decimals"]) for key in ("ours", "published", "difference"))
        lines.append(_line(row["training"], row["figure"] + mark, *values))
    for number, note in enumerate(notes, start=1):
        lines += textwrap.wrap(f"[{number}] not comparable: {note}", _LONGEST_LINE, subsequent_indent="    ")
    return "\n".join(lines)


def log_published(root: Path, tracker: Tracker) -> None:
    """Log the published figures beside ours; a study that is not valid is only warned of."""
    try:
        tracker.table(published_rows(root), "published.json")
    except InputError as error:
        log.warning("no comparison with the published figures: %s", error)


def _table(title: str, rows: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [dict(zip(columns, columns, strict=True)), *rows.values()]
    widths = {column: max(len(row.get(column, "")) for row in cells) + 2 for column in columns}
    if len(title) > _LABEL_WIDTH:
        yield title
        title = ""
    for name, row in zip([title, *(f"  {name}" for name in rows)], cells, strict=True):
        yield name.ljust(_LABEL_WIDTH) + "".join(row.get(column, "-").rjust(widths[column]) for column in columns)


def _line(*cells: str) -> str:
    places = enumerate(zip(cells, _WIDTHS, strict=False))
    return "".join(cell.ljust(width) if n < 2 else cell.rjust(width) for n, (cell, width) in places).rstrip()
