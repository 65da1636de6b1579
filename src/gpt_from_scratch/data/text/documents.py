"""The texts of a large corpus: which files they are, and which part of each is text."""

from __future__ import annotations

import codecs
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.reading import not_decoded

log = logging.getLogger(__name__)

MOST_NAMED = 20
"""Files that one error names."""
_CHUNK = 2**20
_MARGIN = 2**18  # bytes at both ends of a file in which the marks are looked for; Gutenberg's take some 20,000
_MARK = rb"^[ \t]*\*\*\* ?%s OF TH(?:E|IS) PROJECT GUTENBERG EBOOK\b[^*]{0,500}\*\*\*[ \t]*\r?$"
_START, _END = (re.compile(_MARK % word, re.MULTILINE | re.IGNORECASE) for word in (b"START", b"END"))
_CREDITS = re.compile(
    rb"\s*(?:Produced|E-?text prepared|This (?:e-?text|e-?book) was (?:produced|prepared)|Transcribed)\b"
    rb"[^\n]*(?:\n(?![ \t\r]*\n)[^\n]*)*",
    re.IGNORECASE,
)
"""The paragraph behind the first mark that names who made the file."""
_LAST_LINE = re.compile(rb"\n[ \t]*End of (?:the |this )?Project Gutenberg\b[^\n]*(?:\n[^\n]+){0,3}\s*$", re.IGNORECASE)


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
        patterns: files, folders (all `*.txt` and `*.TXT` below them, links followed) and globs. Hidden files and
            folders, such as `.ipynb_checkpoints`, are left out.

    Raises:
        InputError: when `path` does not exist, or a pattern fits no file.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: expected a text or a folder of texts, found nothing there")
    found: set[Path] = set()
    for pattern in patterns:
        place = path if pattern == "**/*.txt" else path / pattern
        matches = _texts(place) if place.is_dir() else path.glob(pattern)
        visible = (match for match in matches if not _hidden(match.relative_to(path)))
        files = {match for match in visible if match.is_file()}
        if not files:
            raise InputError(f"{path}: expected texts that fit {shown(pattern)}, found none")
        found |= files
    return sorted(found)


def _texts(folder: Path) -> list[Path]:
    """Return the texts below a folder; say how many files are no texts, or links that lead nowhere."""
    texts, others, broken, seen = [], 0, 0, set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        paths = [] if real in seen else [Path(place) / name for name in names if not name.startswith(".")]
        seen.add(real)
        texts += [path for path in paths if path.suffix.lower() == ".txt" and path.exists()]
        others += sum(path.suffix.lower() != ".txt" for path in paths)
        broken += sum(not path.exists() for path in paths)
    if others or broken:
        log.info("%s: not read: %d files that do not end in .txt, %d links that lead nowhere", folder, others, broken)
    return texts


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_documents(paths: Sequence[Path], strip_gutenberg: bool) -> list[Document]:
    """Read every file once, in little memory, and return what is to be tokenised.

    Args:
        strip_gutenberg: leave out what Project Gutenberg puts before and after a book, where the marks stand.

    Raises:
        InputError: when files cannot be read, are empty or not UTF-8; with file, line and byte of each.
    """
    documents, wrong = [], []
    total = sum(path.stat().st_size for path in paths)
    with tqdm(total=total, desc="reading", unit="B", unit_scale=True, disable=None, leave=False) as progress:
        for path in paths:
            try:
                digest = _check(path, progress)
                documents.append(Document(path, *_bounds(path, strip_gutenberg), digest))
            except OSError as error:
                wrong.append(f"{path}: could not be read: {error.strerror}")
            except InputError as error:
                wrong.append(str(error))
    if wrong:
        more = f"; and {len(wrong) - MOST_NAMED} more files" if len(wrong) > MOST_NAMED else ""
        raise InputError("; ".join(wrong[:MOST_NAMED]) + more)
    return documents


def _check(path: Path, progress: tqdm) -> str:
    """Return the SHA-256 of a file that is a text."""
    digest, decoder, blank = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")(), True
    position = lines = 0
    for chunk in _chunks(path):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            held = len(error.object) - len(chunk)  # bytes of a character that the chunk before began
            before = lines - error.object.count(b"\n", 0, held), position - held
            raise InputError(not_decoded(path, "utf-8", error.object, error.start, before)) from None
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
    start, end = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0, size
    if not strip_gutenberg:
        return start, end
    if mark := _START.search(head):
        credit = _CREDITS.match(head, mark.end())
        body = head[credit.end() if credit else mark.end() :]
        start = len(head) - len(body.lstrip())
    if mark := _END.search(tail):
        text = tail[: mark.start()]
        end = tail_start + len(_LAST_LINE.sub(b"", text).rstrip())
    if start >= end:
        raise InputError(f"{path}: expected a text between Project Gutenberg's marks, found none")
    return start, end
