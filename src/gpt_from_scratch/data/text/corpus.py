"""A text as training sequences (chapter 2, section 2.6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gpt_from_scratch.data.text.token_map import TokenMap
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.reading import read_text as read_any_text
from gpt_from_scratch.files.reading import with_line_feeds


def read_text(path: Path) -> str:
    """Read a UTF-8 text, with line feeds for its line ends.

    Raises:
        InputError: when it is missing, empty or not valid UTF-8; with the line.
    """
    text = with_line_feeds(read_any_text(path))
    if not text.strip():
        raise InputError(f"{path}: expected a text, found an empty file")
    return text


def split_text(text: str, train_fraction: float) -> tuple[str, str]:
    """Split a text by character into its first part, for training, and the rest, for validation (section 5.1.3)."""
    end = int(train_fraction * len(text))
    return text[:end], text[end:]


class TokenWindows(Dataset[tuple[Tensor, Tensor]]):
    """Sliding windows over token ids: inputs, and the same one token later.

    Args:
        token_ids: the whole text, in memory or on disk.
        context_length: tokens per window.
        stride: tokens from the start of one window to the next.
        name: what the text is called in an error.

    Raises:
        InputError: when the text fills no window.
    """

    def __init__(
        self, token_ids: Sequence[int] | TokenMap, context_length: int, stride: int, name: str = "text"
    ) -> None:
        if len(token_ids) <= context_length:
            raise InputError(
                f"{name}: expected more than one context of {context_length} tokens, found {len(token_ids)} tokens"
            )
        self._token_ids = token_ids if isinstance(token_ids, TokenMap) else np.asarray(token_ids)
        self._starts = range(0, len(token_ids) - context_length, stride)
        self._context_length = context_length

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, each `[context_length]`."""
        start = self._starts[index]
        window = torch.from_numpy(self._token_ids[start : start + self._context_length + 1].astype(np.int64))
        return window[:-1], window[1:]
