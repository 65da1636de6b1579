"""Loaders over windows of a text (chapter 5)."""

from __future__ import annotations

from collections.abc import Sequence

from gpt_from_scratch.data.batches.loaders import Loader, loader_pair
from gpt_from_scratch.data.text.corpus import TokenWindows
from gpt_from_scratch.data.text.token_map import TokenMap


def text_loaders(
    train_ids: Sequence[int] | TokenMap,
    val_ids: Sequence[int] | TokenMap,
    context_length: int,
    stride: int,
    batch_size: int,
) -> tuple[Loader, Loader]:
    """Return loaders over windows of a text (section 5.1.3); see `TokenWindows`.

    The windows of the validation text lie one after the other whatever `stride` is, so that a few batches of them cover
    as much of it as they can.
    """
    train_set = TokenWindows(train_ids, context_length, stride, "training text")
    val_set = TokenWindows(val_ids, context_length, context_length, "validation text")
    return loader_pair(train_set, val_set, batch_size)
