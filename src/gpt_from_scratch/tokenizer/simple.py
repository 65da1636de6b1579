"""The word tokenizers that chapter 2 begins with (sections 2.2 to 2.4): a token is a word or a sign."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNKNOWN = "<|unk|>"

_SEPARATORS = re.compile(r"""([,.:;?_!"()']|--|\s)""")
_SPACE_BEFORE_SIGN = re.compile(r"""\s+([,.:;?!"()'])""")


def split_words(text: str) -> list[str]:
    """Cut a text into words and signs, without the spaces between them."""
    return [token for piece in _SEPARATORS.split(text) if (token := piece.strip())]


def build_vocabulary(text: str, special: Sequence[str] = ()) -> dict[str, int]:
    """Give every distinct token of a text an id, in alphabetical order, and the special tokens the ids after them."""
    return {token: number for number, token in enumerate([*sorted(set(split_words(text))), *special])}


class SimpleTokenizerV1:
    """Knows the words of its vocabulary and no others.

    Args:
        vocab: token → id, such as `build_vocabulary` gives.
    """

    def __init__(self, vocab: dict[str, int]) -> None:
        self.str_to_int = vocab
        self.int_to_str = {number: token for token, number in vocab.items()}

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's words and signs; a word without an id raises KeyError, as in the book."""
        return [self.str_to_int[token] for token in split_words(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the tokens joined by spaces, without a space before a sign; the original spacing is lost."""
        return _SPACE_BEFORE_SIGN.sub(r"\1", " ".join(self.int_to_str[number] for number in ids))


class SimpleTokenizerV2(SimpleTokenizerV1):
    """Takes every word that it does not know for `<|unk|>`, which its vocabulary must hold."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's words and signs."""
        unknown = self.str_to_int[UNKNOWN]
        return [self.str_to_int.get(token, unknown) for token in split_words(text)]
