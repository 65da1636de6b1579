"""Packed sequences: different lengths without padding, one behind the other (`FastPath.lengths`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor

DecidingToken = Literal["last", "last_real", "first", "mean"]
"""Position whose logits are classified: the last token, padding included; the text's own last; the first; or the mean
over all."""


@dataclass(frozen=True)
class Sequences:
    """A batch of packed sequences.

    Attributes:
        values: token ids `[1, tokens]`, or activations `[1, tokens, emb_dim]`.
        lengths: tokens of each sequence.
    """

    values: Tensor
    lengths: list[int]

    @classmethod
    def of(cls, sequences: Sequence[Tensor]) -> Sequences:
        """Pack sequences of token ids `[tokens]`, or of activations `[tokens, emb_dim]`."""
        return cls(torch.cat(tuple(sequences)).unsqueeze(0), [len(sequence) for sequence in sequences])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: slice) -> Sequences:
        starts = [0, *accumulate(self.lengths)]
        first, end, _ = rows.indices(len(self))
        return Sequences(self.values[:, starts[first] : starts[end]], self.lengths[rows])

    def to(self, device: torch.device) -> Sequences:
        """Return the batch on a device."""
        return replace(self, values=self.values.to(device))


def last_tokens(x: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """Return the last token of each sequence.

    Args:
        x: `[batch, tokens, width]`; with `lengths`, `[1, tokens, width]`.
        lengths: tokens of each packed sequence; None: each row is one sequence.

    Returns:
        `[batch, 1, width]`; with `lengths`, `[1, sequences, width]`.
    """
    if lengths is None:
        return x[:, -1:]
    return x[:, torch.tensor(lengths, device=x.device).cumsum(0) - 1]


def first_tokens(x: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """Return the first token of each sequence; shapes as in `last_tokens`."""
    if lengths is None:
        return x[:, :1]
    return x[:, [0, *accumulate(lengths[:-1])]]


def mean_tokens(x: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """Return the mean over the tokens of each sequence; shapes as in `last_tokens`."""
    if lengths is None:
        return x.mean(dim=1, keepdim=True)
    return torch.stack([sequence.mean(dim=1) for sequence in x.split(lengths, dim=1)], dim=1)
