"""Reading files that others made: whatever they hold, the answer is their content or one sentence about them."""

from __future__ import annotations

import codecs
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
    """Read a text of at most `limit` bytes, without a byte-order mark, its line ends as they are.

    Raises:
        InputError: as `read_bytes` and `decode` do.
    """
    return decode(read_bytes(path, limit), path, encoding)


def decode(content: bytes, source: object, encoding: str = "utf-8") -> str:
    """Return the text of a whole file, without a byte-order mark, its line ends as they are.

    Args:
        source: what the text is called in an error.
        encoding: a name that Python knows.

    Raises:
        InputError: for an unknown encoding; and naming the line of a byte that it does not have, with the cure.
    """
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        at = getattr(error, "start", 0)  # some codecs do not tell the place
        line = content.count(b"\n", 0, at) + 1
        found = f"{source}, line {line}: expected {encoding.upper()} text, found the byte {content[at]:#04x}"
        raise InputError(f"{found}; {conversion(content)}") from None
    except (LookupError, ValueError):
        raise InputError(f"{source}: expected an encoding such as latin-1, found {shown(encoding)}") from None


def conversion(head: bytes) -> str:
    """Return the command that makes UTF-8 of a text that is none, by the beginning of its content."""
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding, condition = ("UTF-16", "it is UTF-16") if marked else ("LATIN1", "if it is Latin-1")
    return f"{condition}, this converts it: iconv -f {encoding} -t UTF-8 OLD > NEW"


def with_line_feeds(text: str) -> str:
    """Return a text with a line feed for every carriage return, alone or before a line feed."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines(text: str) -> list[str]:
    """Return the lines of a text, without their ends; unlike `splitlines`, U+0085 and U+2028 are part of a line."""
    return with_line_feeds(text).removesuffix("\n").split("\n") if text else []


def is_json(text: str) -> bool:
    """Return whether a text begins as JSON objects do, or a list of them or of texts."""
    return re.match(r'\s*(\{\s*"|\[\s*[{"])', text) is not None


def parse_list(text: str, source: object) -> Any:
    """Parse JSON that should be a list; JSON Lines, an object a line, become one. See `parse_json`."""
    numbered = [(number, line) for number, line in enumerate(lines(text), start=1) if line.strip()]
    if numbered and re.fullmatch(r"\s*\{.*\}\s*", numbered[0][1]):
        return [parse_json(line, source, number) for number, line in numbered]
    return parse_json(text, source)


def json_texts(text: str, source: object, key: str) -> list[str]:
    """Return the texts of a JSON list or of JSON Lines: each a text, or an object with a text under `key`.

    Raises:
        InputError: as `parse_json` does, and naming the entry without a text.
    """
    content = parse_list(text, source)
    if not isinstance(content, list):
        raise InputError(f"{source}: expected a JSON list or JSON Lines, found {type(content).__name__}")
    texts = [entry.get(key) if isinstance(entry, dict) else entry for entry in content]
    for number, found in enumerate(texts, start=1):
        if not isinstance(found, str):
            entry = shown(content[number - 1])
            raise InputError(f"{source}, entry {number}: expected an object with a text as {key}, found {entry}")
    return texts


def parse_json(text: str, source: object, line: int | None = None) -> Any:
    """Parse JSON of which nothing is doubtful: keys stand once, numbers are finite, texts are Unicode.

    Args:
        source: what the text is called in an error.
        line: the text is this one line of it.

    Raises:
        InputError: naming line and column where it is not JSON, and otherwise what is wrong with it.
    """
    if line:
        source = f"{source}, line {line}"

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
        place = source if line else f"{source}, line {error.lineno}"
        raise InputError(f"{place}, column {error.colno}: not valid JSON: {error.msg}") from None
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
