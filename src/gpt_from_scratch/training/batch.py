"""The type of a batch, which loaders give, tasks take and ranks share out."""

from __future__ import annotations

from torch import Tensor
from torch.utils.data import DataLoader

from gpt_from_scratch.model.sequences import Sequences

Batch = tuple[Tensor | Sequences, Tensor] | tuple[Tensor, Tensor, Tensor]
"""Inputs, token ids `[batch, tokens]`, and targets: token ids `[batch, tokens]` or class numbers `[batch]`.

With class numbers, inputs may be sequences of different lengths, of token ids or of cached activations
(`frozen_prefix`). The first dimension of every part is the batch's, also of those that a task adds (`preferences`).
"""

Loaders = tuple[DataLoader[Batch], DataLoader[Batch]]
"""The loaders of the training and the validation split."""

IGNORED = -100
"""A target that is not learnt: the one that PyTorch's cross-entropy leaves out."""
