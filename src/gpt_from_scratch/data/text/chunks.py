"""Documents cut into pieces that can be tokenised apart, in any order, to the very tokens of the whole.

GPT-2's tokenizer first splits a text (`tokenizer.bpe.PATTERN`), and it always splits where a blank follows something
else: no piece of that pattern goes on from one into the other, and none looks back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from gpt_from_scratch.data.text.documents import Document

PIECE = 2**21
"""Most bytes of a piece: what one process has in memory at a time."""

SHARD = 2**23
"""Most bytes of a shard's text."""

_WINDOW = 2**16
_UP_TO_A_BLANK = re.compile(r".*\S(?=[^\S\x1c-\x1f])", re.DOTALL)
"""Python takes U+001C to U+001F for blanks, the tokenizer's pattern does not: no cut on either side of them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a document.

    Attributes:
        path: the file.
        start, end: its bytes in the file.
        follows: whether it begins a document that another one precedes.
    """

    path: str
    start: int
    end: int
    follows: bool


def cut(documents: Iterable[Document], longest: int = PIECE) -> Iterator[Piece]:
    """Yield the pieces of all documents, in order.

    A text without any blank in the last 65,536 bytes of a piece, which no language writes, is cut between two
    characters, and may get other tokens there than the whole would.

    Args:
        longest: most bytes of a piece.
    """
    follows = False
    for document in documents:
        start = document.start
        with document.path.open("rb") as file:
            while start < document.end:
                end = document.end if document.end - start <= longest else _last_cut(file, start, start + longest)
                yield Piece(str(document.path), start, end, follows)
                start, follows = end, False
        follows = True


def split_documents(documents: Sequence[Document], fraction: float) -> tuple[list[Document], list[Document]]:
    """Return the first `fraction` of the bytes of all documents, and the rest; one is cut in two as pieces are."""
    left = int(fraction * sum(document.end - document.start for document in documents))
    first: list[Document] = []
    rest: list[Document] = []
    for document in documents:
        border = min(document.start + left, document.end)
        if document.start < border < document.end:
            with document.path.open("rb") as file:
                border = _last_cut(file, document.start, border)
        first += [replace(document, end=border)] if border > document.start else []
        rest += [replace(document, start=border)] if border < document.end else []
        left = 0 if rest else left - (document.end - document.start)
    return first, rest


def shards(pieces: Iterable[Piece], largest: int = SHARD) -> Iterator[list[Piece]]:
    """Yield the pieces in groups of at most `largest` bytes; a larger piece stands alone."""
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        length = piece.end - piece.start
        if group and size + length > largest:
            yield group
            group, size = [], 0
        group.append(piece)
        size += length
    if group:
        yield group


def _last_cut(file: BinaryIO, low: int, high: int) -> int:
    """Return the last place up to `high` where a blank follows something else, or else a character begins."""
    window_start = max(low, high - _WINDOW)
    file.seek(window_start)
    window = file.read(high + 1 - window_start)
    inside = next((number for number, byte in enumerate(window) if byte & 0xC0 != 0x80), 0)  # a character begins here
    text = window[inside:].decode("utf-8", errors="ignore")  # the last one may be cut off
    if match := _UP_TO_A_BLANK.match(text):
        return window_start + inside + len(match[0].encode())
    end = len(window) - 1
    while end > 1 and window[end] & 0xC0 == 0x80:
        end -= 1
    return window_start + end
