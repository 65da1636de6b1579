"""Files of texts: a CSV or TSV table, JSON Lines or lines, read alike for training, the command and the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import pandas as pd

from gpt_from_scratch.errors import InputError, reason, shown
from gpt_from_scratch.files.reading import is_json, json_texts, lines, with_line_feeds

ENDINGS = (".csv", ".tsv")
_QUOTES = 'a cell with a comma, tab, quote or line end in it stands in quotes, as in "say ""hi"", please"'
_NO_HEADER = "without a header line columns are named by their numbers (header: false, --no-header)"


def is_table(source: object) -> bool:
    """Return whether the name of a file is that of a table."""
    return PurePath(str(source)).suffix.lower() in ENDINGS


def parse_table(content: str, source: object, columns: Mapping[str, str], header: bool = True) -> pd.DataFrame:
    """Parse columns of a table, their cells as they are; `NA` stays the text `NA`.

    Cells may stand in quotes, doubled within them, and hold line ends, each of which becomes a line feed. A name that
    ends in `.tsv` means tabs between the cells, any other one commas. Blank lines are skipped.

    Args:
        source: the file's name, also in an error.
        columns: the header's names of the columns, by those that they get; case and outer spaces may differ.
        header: the first line has names; else columns are named by their numbers, from 1.

    Raises:
        InputError: naming the source, and the row (from 1, below the names) of an empty or missing cell, one too many
            or one with a NUL; for a missing or doubtful column, and quotes that do not pair up.
    """
    if not content.strip():
        raise InputError(f"{source}: expected a table of texts, found an empty file")
    csv.field_size_limit(2**31 - 1)
    tab = PurePath(str(source)).suffix.lower() == ".tsv"
    reader = csv.reader(io.StringIO(content.strip("\r\n"), newline=""), delimiter="\t" if tab else ",", strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        said = f"not a table of texts: {reason(error)}; {_QUOTES}"
        raise InputError(f"{source}, line {reader.line_num}: {said}") from None
    width = len(rows[0])
    rows = [cells or [""] for cells in rows if cells or width == 1]  # of one column, a blank line is an empty cell
    names = rows.pop(0) if header else [str(number) for number in range(1, width + 1)]
    for number, cells in enumerate(rows, start=1):
        if len(cells) != width:
            said = f"expected {width} cells, as in the first line, found {len(cells)}; {_QUOTES}"
            raise InputError(f"{source}, row {number}: {said}")
    places = {key: _place(names, name, source) for key, name in columns.items()}
    for key, place in places.items():
        for number, cells in enumerate(rows, start=1):
            if not cells[place].strip() or "\0" in cells[place]:
                found = "a NUL in it" if "\0" in cells[place] else "none"
                column = f"column {shown(columns[key])}"
                raise InputError(f"{source}, row {number}, {column}: expected a {key.lower()}, found {found}")
    return pd.DataFrame({key: [with_line_feeds(cells[place]) for cells in rows] for key, place in places.items()})


def _place(names: Sequence[str], wanted: str, source: object) -> int:
    alike = [place for place, name in enumerate(names) if name.strip().casefold() == wanted.strip().casefold()]
    places = [place for place in alike if names[place] == wanted] or alike
    if len(places) != 1:
        found = f"it {len(places)} times" if places else f"the columns {shown(names)}; {_NO_HEADER}"
        raise InputError(f"{source}: expected a column {shown(wanted)}, found {found}")
    return places[0]


def parse_texts(content: str, source: object, column: str | None = None, header: bool = True) -> list[str]:
    """Return the texts of a file: a column of a table, the `column` of each JSON object, or all lines.

    Args:
        column: see `parse_table`; `text` if None. Given, everything but JSON is a table.

    Raises:
        InputError: when there is no text, for an empty one, and as `parse_table` does.
    """
    name, table = column or "text", is_table(source) or column is not None
    if is_json(content) and not is_table(source):
        texts = [with_line_feeds(text) for text in json_texts(content, source, name)]
    elif table and content.strip():
        texts = parse_table(content, source, {"Text": name}, header)["Text"].tolist()
    else:
        texts = lines(content.rstrip())
    if not texts:
        raise InputError(f"{source}: expected texts, found none")
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise InputError(f"{source}, text {number}: expected a text, found an empty one")
    return texts
