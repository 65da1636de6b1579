"""The texts of a large corpus: which files they are, and which part of each is text."""

from __future__ import annotations

import codecs
import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path, PurePath

from tqdm import tqdm

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.reading import conversion

log = logging.getLogger(__name__)

_CHUNK = 2**20
_MARGIN = 2**18  # bytes at both ends of a file in which the marks are looked for; Gutenberg's take some 20,000
_NAME = rb"OF (?:THE |THIS )?(?:COPYRIGHTED )?PROJECT GUTENBERG"
_FLAGS = re.MULTILINE | re.IGNORECASE
_START, _END = (
    re.compile(
        rb"^(?:\xef\xbb\xbf)?[ \t]*\*\*\* ?%s %s E(?:BOOK|TEXT)\b[^*]{0,500}\*\*\*[ \t]*\r?$" % (word, _NAME), _FLAGS
    )
    for word in (b"START", b"END")
)
_SMALL_PRINT = re.compile(rb"^[ \t]*\*END ?\*? ?THE SMALL PRINT.*$", _FLAGS)  # ends the header until about 2003
_LAST_LINE = re.compile(
    rb"^[ \t]*(?:\*\*\* ?)?(?:THE )?END %s(?:\W{1,3}S\b| E-?(?:BOOK|TEXT|DITION)\b|\W*$).*$" % _NAME, _FLAGS
)
_CREDITS = re.compile(
    rb"[\s_*\[(]*(?:(?:(?:THIS )?(?:E-?(?:BOOK|TEXT)|FILE|HTML VERSION)\b.{0,20})?"
    rb"\b(?:PRODUCED|PREPARED|SCANNED|TRANSCRIBED|DIGITI[SZ]ED|PROOFREAD)\b.{0,60}?\b(?:BY|FROM)\b|"
    rb"HTML VERSION BY\b|CREDITS?:|TRANSCRIBER\W{0,3}S?\W{0,3} NOTES?(?![A-Z]))",
    re.IGNORECASE,
)
_PARAGRAPH_END = re.compile(rb"(?:\r?\n[ \t]*){2,}")
_LONGEST_CREDITS = 1500  # bytes of a paragraph
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
        cure = "put one there, see docs/corpora.md"
        raise InputError(f"{path}: expected a text or a folder of texts, found nothing there; {cure}")
    found: set[Path] = set()
    linked: set[Path] = set()
    for pattern in patterns:
        wanted = PurePath(pattern, "**/*.txt") if (path / pattern).is_dir() else PurePath(pattern)
        matches = [match for match in path.glob(str(wanted.parent / "*")) if not _is_hidden(match, path)]
        files = {match for match in matches if not match.is_dir() and fnmatch(match.name.lower(), wanted.name.lower())}
        if not files:
            raise InputError(f"{path}: expected texts that fit {shown(pattern)}, found none")
        found |= files
        if "**" in wanted.parts:
            linked.update(match for match in matches if match.is_dir() and match.is_symlink())
    if linked := {folder for folder in linked if not any(folder in file.parents for file in found)}:
        names = ", ".join(sorted(str(folder.relative_to(path)) for folder in linked))
        log.warning("%s: %d linked folders not read, as DVC does not see them: %s", path, len(linked), names)
    return sorted(found)


def _is_hidden(match: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in match.relative_to(folder).parts)


def read_documents(paths: Sequence[Path], strip_gutenberg: bool) -> list[Document]:
    """Read every file once, in little memory, and return what is to be tokenised.

    Args:
        strip_gutenberg: leave out what Project Gutenberg puts before and after a book, with the credits.

    Raises:
        InputError: naming all files that cannot be read, are empty or not UTF-8; with line and byte.
    """
    documents, wrong = [], []
    total = sum(path.stat().st_size for path in paths if path.is_file())
    with tqdm(total=total, desc="reading", unit="B", unit_scale=True, disable=None, leave=False) as progress:
        for path in paths:
            try:
                if not path.is_file():
                    raise InputError(f"{path}: expected a file, found a broken link, pipe or device")
                digest = _check(path, progress)
                start, end = _bounds(path, strip_gutenberg)
            except InputError as error:
                wrong.append(str(error).partition("; "))
            except OSError as error:
                wrong.append((f"{path}: could not be read: {error.strerror}", "", ""))
            else:
                documents.append(Document(path, start, end, digest))
    if wrong:
        cures = dict.fromkeys(cure for _, _, cure in wrong if cure)
        raise InputError("; ".join([*(fault for fault, _, _ in wrong), *cures]))
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
            found = f"found the byte {byte:#04x} at {at}; {conversion(chunk)}"
            raise InputError(f"{path}, line {line}: expected UTF-8 text, {found}") from None
        blank = blank and not text.replace("\ufeff", "").strip()
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
    limit = len(tail)
    for pattern, reach in ((_END, _MARGIN), (_LAST_LINE, _LONGEST_CREDITS)):
        low = max(0, limit - reach) if limit < len(tail) else 0
        if marks := list(pattern.finditer(tail, low, limit)):
            limit = marks[-1].start()
    if limit < len(tail):
        end = tail_start + _without_credits_at_its_end(tail[:limit])
    if mark := _START.search(head, 0, max(0, end)) or _SMALL_PRINT.search(head, 0, max(0, end)):
        start = _after_credits(head, mark.end())
    if start >= end:
        raise InputError(f"{path}: expected a text between Project Gutenberg's marks, found none")
    return start, end


def _after_credits(head: bytes, start: int) -> int:
    """Return where the text begins: after blank lines, and after paragraphs that say who made the file."""
    while True:
        start += len(head) - start - len(head[start:].lstrip())
        end = _PARAGRAPH_END.search(head, start, start + _LONGEST_CREDITS)
        if end is None or not _CREDITS.match(head, start):
            return start
        start = end.end()


def _without_credits_at_its_end(content: bytes) -> int:
    """Return where a text ends: before blank lines, and before paragraphs that say who made the file."""
    while True:
        content = content.rstrip()
        ends = list(_PARAGRAPH_END.finditer(content, max(0, len(content) - _LONGEST_CREDITS)))
        if not ends or not _CREDITS.match(content, ends[-1].end()):
            return len(content)
        content = content[: ends[-1].start()]
