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


def read_text(path: Path, limit: int | None = None, encoding: str = "utf-8") -> str:
    """Read a text of at most `limit` bytes, its line ends as they are.

    Raises:
        InputError: as `read_bytes` and `decoded` do.
    """
    return decoded(read_bytes(path, limit), path, encoding)


def decoded(content: bytes, source: object, encoding: str = "utf-8") -> str:
    """Return a text without the byte-order mark that editors may put at its start.

    Args:
        source: what the text is called in an error.

    Raises:
        InputError: for a byte that is not of the encoding, naming its line and the cure.
    """
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(not_decoded(source, encoding, content, error.start)) from None


def not_decoded(source: object, encoding: str, content: bytes, place: int, before: tuple[int, int] = (0, 0)) -> str:
    """Return the message on a byte that is not of the encoding; so many lines and bytes are before this content."""
    line, wide = before[0] + content.count(b"\n", 0, place) + 1, content.startswith((b"\xff\xfe", b"\xfe\xff"))
    found = f"{content[place]:#04x} at {before[1] + place}"
    said = f"{source}, line {line}: expected {encoding.upper()} text, found the byte {found}"
    return f"{said}; if it is {'UTF-16' if wide else 'Latin-1'}: iconv -f {'UTF-16' if wide else 'LATIN1'} -t UTF-8"


def unix_lines(text: str) -> str:
    """Return a text with a line feed for every line end, also where Windows or an old Mac wrote another."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines_of(text: str) -> list[str]:
    """Return a text's lines without their ends: line feed, carriage return, or both, and no other character."""
    lines = unix_lines(text).split("\n")
    return lines if lines[-1] else lines[:-1]


def read_records(path: Path, limit: int | None = None) -> Any:
    """Read a JSON file, or JSON Lines as a list: by the suffix `.jsonl`, or where every line is an object.

    Raises:
        InputError: as `read_text` and `parse_json` do.
    """
    text = read_text(path, limit)
    lines = [(number, line) for number, line in enumerate(lines_of(text)) if line.strip()]
    objects = len(lines) > 1 and all(line.lstrip().startswith("{") and line.rstrip().endswith("}") for _, line in lines)
    if objects or path.suffix.lower() == ".jsonl":
        return [parse_json(line, path, number) for number, line in lines]
    return parse_json(text, path)


def parse_json(text: str, source: object, lines: int = 0) -> Any:
    """Parse JSON of which nothing is doubtful: keys stand once, numbers are finite, texts are Unicode.

    Args:
        source: what the text is called in an error.
        lines: number of lines before the text, for errors.

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
        line = lines + error.lineno
        raise InputError(f"{source}, line {line}, column {error.colno}: not valid JSON: {error.msg}") from None
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
