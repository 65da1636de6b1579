"""The text of tokens, and stop strings: texts at which it ends, beside the end-of-text token; they are no part of it.

Stop strings are looked for in what the model generates, not in its prompt. One may begin and end within tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktoken import Encoding

_UNKNOWN = "\N{REPLACEMENT CHARACTER}".encode()


@dataclass(frozen=True)
class Ending:
    """The end of a row of tokens: the end-of-text token, or the token that completes a stop string."""

    tokenizer: Encoding
    stop: tuple[str, ...] = ()

    @property
    def eos_id(self) -> int:
        """The end-of-text token."""
        return self.tokenizer.eot_token

    @property
    def reach(self) -> int:
        """The number of a row's last tokens in which a stop string lies that the very last completes; 0: there is none.

        A token has at least one byte.
        """
        return max((len(text.encode()) for text in self.stop), default=0)

    def reached(self, tokens: Sequence[int]) -> bool:
        """Return whether a row's last `reach` tokens contain a stop string."""
        tail = b"".join(token_bytes(self.tokenizer, token) for token in tokens)
        return any(text.encode() in tail for text in self.stop)

    def text_of(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens before the first stop string, with � for ids that the tokenizer lacks."""
        text = text_of(self.tokenizer, tokens)
        return text[: _first(text, self.stop)]


class StopFilter:
    """Passes text on up to the first stop string, and holds back what may become one until that is decided.

    Attributes:
        found: True from the stop string on; nothing is passed on any more.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.found = False
        self._stop = stop
        self._held = ""

    def feed(self, text: str, *, last: bool = False) -> str:
        """Return what can be shown now that this text has come; `last`: nothing follows it."""
        if self.found:
            return ""
        text = self._held + text
        end = _first(text, self._stop)
        self.found = end < len(text)
        if not (self.found or last):
            end -= max((_overlap(text, word) for word in self._stop), default=0)
        self._held = text[end:]
        return text[:end]


def until_stop(pieces: Iterable[str], stop: Sequence[str]) -> Iterator[str]:
    """Yield pieces of a text up to the first stop string; behind it none is asked for any more."""
    shown = StopFilter(stop)
    for piece in pieces:
        if ready := shown.feed(piece):
            yield ready
        if shown.found:
            return
    if rest := shown.feed("", last=True):
        yield rest


def token_bytes(tokenizer: Encoding, token: int) -> bytes:
    """Return a token's bytes; for an id of the model's padded vocabulary, which the tokenizer lacks, those of �."""
    try:
        return tokenizer.decode_single_token_bytes(token)
    except KeyError:
        return _UNKNOWN


def text_of(tokenizer: Encoding, tokens: Sequence[int]) -> str:
    """Return the text of tokens, with � for ids that the tokenizer lacks."""
    return b"".join(token_bytes(tokenizer, token) for token in tokens).decode("utf-8", errors="replace")


def _first(text: str, stop: Sequence[str]) -> int:
    """Return where the first stop string begins; the text's length if there is none."""
    return min((place for word in stop if (place := text.find(word)) >= 0), default=len(text))


def _overlap(text: str, word: str) -> int:
    """Return the length of the longest end of a text that a word begins with and that is shorter than the word."""
    return next((size for size in range(min(len(text), len(word) - 1), 0, -1) if text.endswith(word[:size])), 0)
