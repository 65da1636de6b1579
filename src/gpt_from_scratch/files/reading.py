"""Reading files that others made: whatever they hold, the answer is their content or one sentence about them."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError, named, shown

_SURROGATE = re.compile(r"\\u[dD][89abAB]")

Place = tuple["Place", str] | None
"""The way to a value in a document: the place of what it stands in, and its key or number there."""


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """Read a whole file of at most `limit` bytes.

    Raises:
        InputError: when it is missing, cannot be read or is larger, or is a pipe or device, which might never end.
    """
    try:
        if not path.is_file():
            wrong = "expected a file, found a folder, pipe or device" if path.exists() else "file not found"
            raise InputError(f"{path}: {wrong}")
        with path.open("rb") as file:
            content = file.read() if limit is None else file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path}: could not be read: {error.strerror}") from None
    if limit is not None and len(content) > limit:
        raise InputError(f"{path}: expected at most {limit:,} bytes, found more")
    return content


def read_text(path: Path, limit: int | None = None) -> str:
    """Read a UTF-8 text of at most `limit` bytes, its line ends as they are.

    Raises:
        InputError: as `read_bytes` does, and naming the line of a byte that is not UTF-8.
    """
    content = read_bytes(path, limit)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: expected UTF-8 text, found the byte {content[error.start]:#04x}"
        ) from None


def parse_json(text: str, source: object) -> Any:
    """Parse JSON of which nothing is doubtful: keys stand once, numbers are finite, texts are Unicode.

    Args:
        source: what the text is called in an error.

    Raises:
        InputError: naming line and column where it is not JSON, and otherwise what is wrong with it.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
            raise InputError(f"{source}: expected every key once in its object, found {shown(key)} again")
        return content

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise InputError(f"{source}: expected finite numbers, found {shown(number)}")
        return value

    try:
        content = json.loads(text, object_pairs_hook=once, parse_float=finite, parse_constant=finite)
    except json.JSONDecodeError as error:
        raise InputError(f"{source}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{source}: not usable JSON: lists or objects are nested too deeply") from None
    except InputError:
        raise
    except ValueError:  # what int() raises
        most = sys.get_int_max_str_digits()
        raise InputError(f"{source}: expected numbers of at most {most} digits, found a longer one") from None
    if _SURROGATE.search(text):
        _check_unicode(content, source)
    return content


def _check_unicode(content: Any, source: object) -> None:
    """Refuse half a character, which JSON can spell and no encoding can write."""
    waiting: list[tuple[Place, Any]] = [(None, content)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                half = ascii(value[error.start])
                raise InputError(
                    f"{source}{_written(place)}: expected Unicode text, found half of a pair: {half}"
                ) from None
        elif isinstance(value, dict):
            waiting += [((place, "a key"), key) for key in value]
            waiting += [((place, named(key)), item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [((place, f"entry {number}"), item) for number, item in enumerate(value, start=1)]


def _written(place: Place) -> str:
    parts: list[str] = []
    while place is not None:
        place, part = place
        parts.append(part)
    return "".join(f", {part}" for part in reversed(parts))
