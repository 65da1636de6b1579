"""Labelled texts of one's own: a CSV or TSV file with named columns, and any number of classes.

The companion's IMDB reviews are such a file; chapter 6's messages have a format of their own, see `spam`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gpt_from_scratch.data.messages.spam import LABELS
from gpt_from_scratch.data.messages.tables import is_table, parse_table
from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.reading import read_text
from gpt_from_scratch.files.writing import read_json, write_json

log = logging.getLogger(__name__)

_NAMES = "labels.json"


def read_table(path: Path, text: str, label: str, header: bool = True, encoding: str = "utf-8") -> pd.DataFrame:
    """Read the columns of texts and labels of a table as `Text` and `Label`, see `parse_table`.

    Labels that differ in case or spaces alone are different ones, of which a warning tells.

    Raises:
        InputError: as `read_text` and `parse_table` do.
    """
    rows = parse_table(read_text(path, encoding=encoding), path, {"Label": label, "Text": text}, header)
    spellings: dict[str, list[str]] = {}
    for name in class_names(rows):
        spellings.setdefault(" ".join(name.casefold().split()), []).append(shown(name))
    if alike := [" and ".join(names) for names in spellings.values() if len(names) > 1]:
        log.warning("%s: labels that differ in case or spaces alone are different: %s", path, "; ".join(alike))
    return rows


def read_splits(place: Path, *form: Any) -> dict[str, tuple[Path, pd.DataFrame]]:
    """Read labelled texts: a table as `train`, or the tables `train`, `test` and perhaps `validation` in a folder.

    Args:
        form: the further arguments of `read_table`, for all of them.

    Raises:
        InputError: when a file is missing or not the only one of its name, when the texts for training have fewer than
            two labels or another set has one of its own, and as `read_table` does.
    """
    files = {"train": place}
    if place.is_dir():
        found = sorted(path for path in place.iterdir() if is_table(path) and not path.name.startswith("."))
        files = {path.stem.lower(): path for path in found}
        if len(files) < len(found) or not {"train", "test"} <= set(files) <= {"train", "test", "validation"}:
            names = shown([path.name for path in found])
            raise InputError(f"{place}: expected tables train, test and perhaps validation, each once, found {names}")
    read = {name: (path, read_table(path, *form)) for name, path in files.items()}
    labels = class_names(read["train"][1])
    if len(labels) < 2:
        raise InputError(f"{files['train']}: expected at least two labels, found {shown(labels)}")
    for path, rows in read.values():
        if unknown := sorted(set(rows["Label"]) - set(labels)):
            raise InputError(f"{path}: expected labels that {files['train'].name} has, found {shown(unknown)} as well")
    return read


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
