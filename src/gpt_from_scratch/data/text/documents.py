"""The texts of a large corpus: which files they are, and which part of each is text."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from gpt_from_scratch.errors import InputError, shown

_CHUNK = 2**20
_MARGIN = 2**18  # bytes at both ends of a file in which the marks are looked for; Gutenberg's take some 20,000
_MARK = rb"^[ \t]*\*\*\* ?%s OF TH(?:E|IS) PROJECT GUTENBERG EBOOK\b[^*]{0,500}\*\*\*[ \t]*\r?$"
_START, _END = (re.compile(_MARK % word, re.MULTILINE | re.IGNORECASE) for word in (b"START", b"END"))
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Document:
    """A file of text.

    Attributes:
        path: where it lies.
        start, end: the bytes of it that are read.
        sha256: of the whole file.
    """

    path: Path
    start: int
    end: int
    sha256: str


def find_files(path: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files of a corpus, each once, in the order of their names.

    Args:
        path: a file, or the folder that the patterns count from.
        patterns: files, folders (all `*.txt` below them) and globs.

    Raises:
        InputError: when `path` does not exist, or a pattern fits no file.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: expected a text or a folder of texts, found nothing there")
    found: set[Path] = set()
    for pattern in patterns:
        place = path / pattern
        matches = place.glob("**/*.txt") if place.is_dir() else path.glob(pattern)
        files = {match for match in matches if match.is_file()}
        if not files:
            raise InputError(f"{path}: expected texts that fit {shown(pattern)}, found none")
        found |= files
    return sorted(found)


def read_documents(paths: Sequence[Path], strip_gutenberg: bool) -> list[Document]:
    """Read every file once, in little memory, and return what is to be tokenised.

    Args:
        strip_gutenberg: leave out what Project Gutenberg puts before and after a book, where the marks stand.

    Raises:
        InputError: when a file cannot be read, is empty or not UTF-8; with file, line and byte.
    """
    documents = []
    total = sum(path.stat().st_size for path in paths)
    with tqdm(total=total, desc="reading", unit="B", unit_scale=True, disable=None, leave=False) as progress:
        for path in paths:
            try:
                digest = _check(path, progress)
                start, end = _bounds(path, strip_gutenberg)
            except OSError as error:
                raise InputError(f"{path}: could not be read: {error.strerror}") from None
            documents.append(Document(path, start, end, digest))
    return documents


def _check(path: Path, progress: tqdm) -> str:
    """Return the SHA-256 of a file that is a text."""
    digest, decoder, blank = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")(), True
    position = lines = 0
    for chunk in _chunks(path):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            at = position + len(chunk) - len(error.object) + error.start
            line = 1 + lines + chunk.count(b"\n", 0, max(0, at - position))
            byte = error.object[error.start]
            raise InputError(f"{path}, line {line}: expected UTF-8 text, found the byte {byte:#04x} at {at}") from None
        blank = blank and not text.strip()
        digest.update(chunk)
        position += len(chunk)
        lines += chunk.count(b"\n")
        progress.update(len(chunk))
    if blank:
        raise InputError(f"{path}: expected a text, found an empty file")
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's content and, at its end, nothing."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
    yield b""


def _bounds(path: Path, strip_gutenberg: bool) -> tuple[int, int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_MARGIN)
        tail_start = max(0, size - _MARGIN)
        file.seek(tail_start)
        tail = file.read(_MARGIN)
    start, end = len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0, size
    if not strip_gutenberg:
        return start, end
    if mark := _START.search(head):
        start = mark.end() + len(head[mark.end() :]) - len(head[mark.end() :].lstrip())
    if mark := _END.search(tail):
        end = tail_start + len(tail[: mark.start()].rstrip())
    if start >= end:
        raise InputError(f"{path}: expected a text between Project Gutenberg's marks, found none")
    return start, end
