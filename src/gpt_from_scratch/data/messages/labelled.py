"""Labelled texts of one's own: a CSV or TSV file with named columns, and any number of classes.

The companion's IMDB reviews are such a file; chapter 6's messages have a format of their own, see `spam`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gpt_from_scratch.data.messages.spam import LABELS
from gpt_from_scratch.errors import InputError, reason, shown
from gpt_from_scratch.files.reading import read_text
from gpt_from_scratch.files.writing import read_json, write_json

_NAMES = "labels.json"


def read_table(path: Path, text: str, label: str) -> pd.DataFrame:
    """Read the columns of texts and labels as `Text` and `Label`, as they are; `NA` stays the text `NA`.

    Cells may stand in quotes, doubled within them, and hold line ends; a carriage return becomes a line feed. A
    file that ends in `.tsv` has tabs between its cells, any other commas.

    Args:
        text, label: names of the columns, in the first line.

    Raises:
        InputError: naming the file, and the row (from 1, below the names) of an empty cell or one with a NUL; for bytes
            that are not UTF-8, a missing or doubtful column, quotes or cells that do not pair up, and fewer than two
            labels.
    """
    content = read_text(path).removeprefix("\ufeff")
    if not content.strip():
        raise InputError(f"{path}: expected labelled texts, found an empty file")
    try:
        frame = pd.read_csv(
            io.BytesIO(content.encode()),
            sep="\t" if path.suffix == ".tsv" else ",",
            header=None,  # pandas would rename a column that stands there twice
            index_col=False,
            keep_default_na=False,
            dtype=str,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: not a table of labelled texts: {reason(error)}") from None
    names = frame.iloc[0].tolist()
    for name in (text, label):
        if names.count(name) != 1:
            found = "it twice" if name in names else f"the columns {shown(names)}"
            raise InputError(f"{path}: expected a column {shown(name)}, found {found}")
    rows = frame.iloc[1:, [names.index(label), names.index(text)]].reset_index(drop=True)
    rows.columns = ["Label", "Text"]
    for column, name in (("Text", text), ("Label", label)):
        empty = rows[column].isna() | (rows[column].str.strip() == "")
        for wrong, found in ((empty, "none"), (rows[column].str.contains("\0", regex=False), "a NUL in it")):
            if wrong.any():
                row = int(wrong.argmax()) + 1
                raise InputError(f"{path}, row {row}, column {shown(name)}: expected a {column.lower()}, found {found}")
        rows[column] = rows[column].str.replace("\r\n", "\n").str.replace("\r", "\n")
    if len(labels := class_names(rows)) < 2:
        raise InputError(f"{path}, column {shown(label)}: expected at least two labels, found {shown(labels)}")
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
