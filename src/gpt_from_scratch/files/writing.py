"""Writing files so that none is ever seen half-written, and so that equal content gives equal bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import shown
from gpt_from_scratch.files.reading import parse_json, parse_list, read_text

LARGEST_JSON = 64 * 2**20
"""Bytes of a JSON file; parsed, it takes some twenty times as many."""


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends: to a temporary file beside `path`, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        share(Path(temporary))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, content: Any, *, ascii_only: bool = False) -> None:
    """Write JSON with sorted keys and floats of nine significant digits."""
    text = json.dumps(_rounded(content), indent=2, sort_keys=True, ensure_ascii=ascii_only, allow_nan=False)
    write_text(path, text + "\n")


def write_metrics(path: Path, content: Any) -> None:
    """Write a metrics file of DVC's, JSON in ASCII: DVC takes a file with much of another script for a binary one."""
    write_json(path, content, ascii_only=True)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the first row's keys; None becomes an empty cell.

    Raises:
        ValueError: for a cell that is more than a number or a word: `dvc plots` puts cells into its page as they are.
    """
    for cell in chain.from_iterable(row.values() for row in rows):
        if not re.fullmatch(r"[\w.+-]*", str(cell)):
            raise ValueError(f"a cell of {path.name}: expected a number or a word, found {shown(cell)}")
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rounded(dict(row)) for row in rows)
    write_text(path, buffer.getvalue())


def read_json(path: Path) -> Any:
    """Read a JSON file; see `parse_json`.

    Raises:
        InputError: when it is missing, too large, not UTF-8 or not such JSON; with line and column if known.
    """
    return parse_json(read_text(path, LARGEST_JSON), path)


def read_list(path: Path) -> Any:
    """Read a JSON file that should be a list, or JSON Lines, an object a line; as `read_json` does."""
    return parse_list(read_text(path, LARGEST_JSON), path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def share(path: Path) -> None:
    """Give a file or folder, made for its owner alone, the permissions that the user's umask allows."""
    umask = os.umask(0o077)  # the one way to ask for it
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` and put it in `path`'s place when the block ends well.

    Its content has then reached the disk, so that even a power failure leaves no half of it under this name. On any
    error it is removed and what stood at `path` stays. What a killed process left of the same folder is removed too.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in made:
        sync(folder.parent)
    for leftover in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        share(temporary)
        for entry in sorted(temporary.rglob("*"), reverse=True):
            sync(entry)
        sync(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _rounded(content: Any) -> Any:
    """Round floats to nine significant digits, more than float32 holds: the same text on every platform."""
    if isinstance(content, float):
        return float(f"{content:.9g}")
    if isinstance(content, Mapping):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    return content
