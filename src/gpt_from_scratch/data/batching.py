"""Loaders for the three trainings.

They draw from PyTorch's global generator, so that a seed set before a training gives the book's order of batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gpt_from_scratch.data.corpus import TokenWindows
from gpt_from_scratch.data.instructions import Instructions, collate

Loader = DataLoader[tuple[Tensor, Tensor]]


def _loaders(train_set: Dataset, val_set: Dataset, batch_size: int, **options: object) -> tuple[Loader, Loader]:
    """Return a shuffled loader of full batches for training, and one in order for validation."""
    return (
        DataLoader(train_set, batch_size=batch_size, shuffle=True, drop_last=True, **options),
        DataLoader(val_set, batch_size=batch_size, shuffle=False, drop_last=False, **options),
    )


def text_loaders(
    train_ids: Sequence[int], val_ids: Sequence[int], context_length: int, stride: int, batch_size: int
) -> tuple[Loader, Loader]:
    """Return loaders over windows of a text (section 5.1.3); see `TokenWindows`."""
    train_set = TokenWindows(train_ids, context_length, stride, "training text")
    val_set = TokenWindows(val_ids, context_length, stride, "validation text")
    return _loaders(train_set, val_set, batch_size)


def message_loaders(train_set: Dataset, val_set: Dataset, batch_size: int) -> tuple[Loader, Loader]:
    """Return loaders over messages (section 6.3)."""
    return _loaders(train_set, val_set, batch_size)


def instruction_loaders(
    train_set: Instructions, val_set: Instructions, batch_size: int, pad_id: int
) -> tuple[Loader, Loader]:
    """Return loaders over instructions, padded batch by batch (section 7.4)."""
    padding = partial(collate, pad_id=pad_id, max_length=train_set.max_length)
    return _loaders(train_set, val_set, batch_size, collate_fn=padding)
