"""Loaders for training and validation.

They draw from PyTorch's global generator, so that a seed set before a training gives the book's order of batches.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Loader = DataLoader[tuple[Tensor, Tensor]]


def loader_pair(train_set: Dataset, val_set: Dataset, batch_size: int, **options: Any) -> tuple[Loader, Loader]:
    """Return a shuffled loader of full batches for training, and one in order for validation.

    Args:
        options: further arguments of `DataLoader`, such as `collate_fn`.
    """
    return (
        DataLoader(train_set, batch_size=batch_size, shuffle=True, drop_last=True, **options),
        DataLoader(val_set, batch_size=batch_size, shuffle=False, drop_last=False, **options),
    )
