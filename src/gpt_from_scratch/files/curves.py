"""The reader of `metrics/plots/*.csv`: curves of trainings and evaluations, rows of numbers."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.reading import read_text

Curve = list[dict[str, float | None]]
"""Rows by column; None for an empty cell."""


def read_curve(path: Path, *, optional: bool = False) -> Curve:
    """Return the rows of a curve; none for a missing file that is `optional`.

    Raises:
        InputError: for another missing file, and for a cell that is no number.
    """
    return [] if optional and not path.is_file() else parse_curve(read_text(path), path)


def parse_curve(text: str, source: object) -> Curve:
    """Return the rows of a curve from its text.

    Args:
        source: the name of the text in an error.

    Raises:
        InputError: for a cell that is no number.
    """
    return [{key: _number(cell, f"{source}: {key}") for key, cell in row.items()} for row in parse_rows(text)]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file as texts, by column; none where there is no file."""
    return parse_rows(read_text(path)) if path.is_file() else []


def parse_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of CSV as texts, by column."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _number(cell: str | None, place: str) -> float | None:
    if not cell:
        return None
    try:
        return int(cell) if cell.isdigit() else float(cell)
    except (ValueError, TypeError):
        raise InputError(f"{place}: expected a number, found {shown(cell)}") from None
