"""Labelled texts of one's own: a CSV or TSV file with named columns, and any number of classes.

The companion's IMDB reviews are such a file; chapter 6's messages have a format of their own, see `spam`.
"""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from gpt_from_scratch.data.messages.spam import LABELS
from gpt_from_scratch.errors import InputError, reason, shown
from gpt_from_scratch.files.reading import read_text, unix_lines
from gpt_from_scratch.files.writing import read_json, write_json

log = logging.getLogger(__name__)

_NAMES = "labels.json"


def read_table(path: Path, text: str, label: str, *, header: bool = True, encoding: str = "utf-8") -> pd.DataFrame:
    """Read the columns of texts and labels as `Text` and `Label`, as they are; `NA` stays the text `NA`.

    Args:
        text, label: names of the columns; without a header their numbers, from 1.

    Raises:
        InputError: as `read_columns` does, and for fewer than two labels.
    """
    columns = {"Label": label, "Text": text}
    rows = read_columns(read_text(path, encoding=encoding), path, columns, tabs=is_tsv(path), header=header)
    labels = class_names(rows)
    if len(labels) < 2:
        raise InputError(f"{path}, column {shown(label)}: expected at least two labels, found {shown(labels)}")
    alike = Counter(name.strip().casefold() for name in labels)
    if doubtful := [name for name in labels if alike[name.strip().casefold()] > 1]:
        log.warning("%s: labels that differ in case or blanks alone count as different: %s", path, shown(doubtful))
    return rows


def is_tsv(path: Path) -> bool:
    """Return whether a file has tabs between its cells, by its name; commas otherwise."""
    return path.suffix.lower() == ".tsv"


def read_columns(
    content: str, source: object, columns: Mapping[str, str], *, tabs: bool = False, header: bool = True
) -> pd.DataFrame:
    """Return columns of a CSV or TSV text, of every row: the one reader of such tables, for training and for use.

    Cells may stand in quotes, doubled within them, and hold line ends; a carriage return becomes a line feed.

    Args:
        source: what the text is called in an error.
        columns: the column's name in the text for each in the result; without a header its number, from 1.
        tabs: whether tabs separate the cells, not commas.

    Raises:
        InputError: naming the row (from 1, below the names) of an empty cell or one with a NUL; for a missing or
            doubtful column, and for quotes or cells that do not pair up: a comma in a text needs quotes.
    """
    if not content.strip():
        raise InputError(f"{source}: expected labelled texts, found an empty file")
    try:
        frame = pd.read_csv(
            io.BytesIO(content.encode()),
            sep="\t" if tabs else ",",
            header=None,  # pandas would rename a column that stands there twice
            index_col=False,
            keep_default_na=False,
            dtype=str,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        cure = "a comma, tab or line end in a text needs quotes"
        raise InputError(f"{source}: not a table of labelled texts: {reason(error)} ({cure})") from None
    names = frame.iloc[0].tolist() if header else [str(number + 1) for number in range(frame.shape[1])]
    for name in columns.values():
        if names.count(name) != 1:
            found = "it twice" if name in names else f"the columns {shown(names)}"
            raise InputError(f"{source}: expected a column {shown(name)}, found {found}")
    rows = frame.iloc[int(header) :, [names.index(name) for name in columns.values()]].reset_index(drop=True)
    rows.columns = list(columns)
    for column, name in reversed(columns.items()):
        empty = rows[column].isna() | (rows[column].str.strip() == "")
        for wrong, found in ((empty, "none"), (rows[column].str.contains("\0", regex=False), "a NUL in it")):
            if wrong.any():
                row = int(wrong.argmax()) + 1
                raise InputError(
                    f"{source}, row {row}, column {shown(name)}: expected a {column.lower()}, found {found}"
                )
        rows[column] = rows[column].map(unix_lines)
    return rows


def class_names(texts: pd.DataFrame) -> tuple[str, ...]:
    """Return the labels of texts in the order of their numbers, which is that of their names."""
    return tuple(sorted(texts["Label"].unique()))


def as_words(labels: Sequence[str]) -> list[str]:
    """Return labels as words, each another one: what `write_csv` takes for the cells of a plot."""
    words: list[str] = []
    for label in labels:
        word = re.sub(r"[^\w.+-]", "_", label)
        while word in words:
            word += "_"
        words.append(word)
    return words


def write_class_names(folder: Path, labels: Sequence[str]) -> None:
    """Note which classes the numbers in the sets of a folder are; ham and spam need no note."""
    if tuple(labels) != LABELS:
        write_json(folder / _NAMES, list(labels))


def read_class_names(folder: Path) -> tuple[str, ...]:
    """Return the classes of the sets in a folder, in the order of their numbers.

    Raises:
        InputError: when what is noted there is no list of at least two different names.
    """
    path = folder / _NAMES
    if not path.exists():
        return LABELS
    names = read_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < 2:
        raise InputError(f"{path}: expected a list of at least two labels, found {shown(names)}")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: expected every label once, found {shown(names)}")
    return tuple(names)
