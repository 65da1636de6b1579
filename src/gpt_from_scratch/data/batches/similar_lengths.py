"""Batches of sequences of about equal length, which need little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler


class SimilarLengths(Sampler[list[int]]):
    """Full batches of sequences of about equal length, in random order, and other ones in every epoch.

    The sequences are shuffled and dealt into pools of some batches each; a pool is sorted by length and cut into
    batches, and the batches of all pools are shuffled. What fills no batch is left out, as by the plain loader.

    Args:
        lengths: tokens of every sequence.
        pool: batches sorted together: more make lengths more equal, and the sequences that meet less random.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, pool: int = 2) -> None:
        self._lengths = torch.tensor(lengths)
        self._batch_size, self._pool = batch_size, pool

    def __len__(self) -> int:
        return len(self._lengths) // self._batch_size

    def __iter__(self) -> Iterator[list[int]]:
        chosen = torch.randperm(len(self._lengths))[: len(self) * self._batch_size]
        batches = [
            batch
            for pool in chosen.split(self._pool * self._batch_size)
            for batch in pool[self._lengths[pool].argsort(stable=True)].split(self._batch_size)
        ]
        for number in torch.randperm(len(batches)).tolist():
            yield batches[number].tolist()
