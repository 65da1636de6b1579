"""Loaders over labelled messages (chapter 6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from gpt_from_scratch.data.batches.loaders import Loader, loader_pair
from gpt_from_scratch.model.sequences import Sequences


def message_loaders(
    train_set: Dataset, val_set: Dataset, batch_size: int, padded: bool = True
) -> tuple[Loader, Loader]:
    """Return loaders over messages (section 6.3).

    Args:
        padded: the messages have one length, and a batch is a tensor; else it is `Sequences`.
    """
    return loader_pair(train_set, val_set, batch_size, collate_fn=None if padded else _one_behind_the_other)


def _one_behind_the_other(examples: Sequence[tuple[Tensor, Tensor]]) -> tuple[Sequences, Tensor]:
    sequences, labels = zip(*examples, strict=True)
    return Sequences.of(sequences), torch.stack(labels)
