"""Loaders for the three trainings.

They draw from PyTorch's global generator, so that a seed set before a training gives the book's order of batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gpt_from_scratch.data.instructions.entries import Instructions, collate
from gpt_from_scratch.data.instructions.preferences import Preferences, collate_pairs
from gpt_from_scratch.data.text.corpus import TokenWindows
from gpt_from_scratch.data.text.token_map import TokenMap
from gpt_from_scratch.model.sequences import Sequences

Loader = DataLoader[tuple[Tensor, Tensor]]


def _loaders(train_set: Dataset, val_set: Dataset, batch_size: int, **options: object) -> tuple[Loader, Loader]:
    """Return a shuffled loader of full batches for training, and one in order for validation."""
    return (
        DataLoader(train_set, batch_size=batch_size, shuffle=True, drop_last=True, **options),
        DataLoader(val_set, batch_size=batch_size, shuffle=False, drop_last=False, **options),
    )


def text_loaders(
    train_ids: Sequence[int] | TokenMap,
    val_ids: Sequence[int] | TokenMap,
    context_length: int,
    stride: int,
    batch_size: int,
) -> tuple[Loader, Loader]:
    """Return loaders over windows of a text (section 5.1.3); see `TokenWindows`."""
    train_set = TokenWindows(train_ids, context_length, stride, "training text")
    val_set = TokenWindows(val_ids, context_length, stride, "validation text")
    return _loaders(train_set, val_set, batch_size)


def message_loaders(
    train_set: Dataset, val_set: Dataset, batch_size: int, padded: bool = True
) -> tuple[Loader, Loader]:
    """Return loaders over messages (section 6.3).

    Args:
        padded: the messages have one length, and a batch is a tensor; else it is `Sequences`.
    """
    return _loaders(train_set, val_set, batch_size, collate_fn=None if padded else _one_behind_the_other)


def _one_behind_the_other(examples: Sequence[tuple[Tensor, Tensor]]) -> tuple[Sequences, Tensor]:
    sequences, labels = zip(*examples, strict=True)
    return Sequences.of(sequences), torch.stack(labels)


def instruction_loaders(
    train_set: Instructions,
    val_set: Instructions,
    batch_size: int,
    pad_id: int,
    group_by_length: bool = False,
    mask_instruction: bool = False,
) -> tuple[Loader, Loader]:
    """Return loaders over instructions, padded batch by batch (section 7.4).

    Args:
        group_by_length: make training batches of sequences that are about equally long; see `SimilarLengths`.
        mask_instruction: let the tokens of the prompts be no targets, in both sets (exercise 7.2).

    Raises:
        InputError: as `Instructions.prompt_lengths` does, where that is asked for.
    """
    padding = partial(collate, pad_id=pad_id, max_length=train_set.max_length)
    lengths = [len(ids) for ids in train_set] if group_by_length else None
    if not mask_instruction:
        return _padded_loaders(train_set, val_set, batch_size, padding, lengths)
    sets = [list(zip(part, part.prompt_lengths(), strict=True)) for part in (train_set, val_set)]
    return _padded_loaders(*sets, batch_size, partial(_masked, padding=padding), lengths)


def _masked(batch: Sequence[tuple[list[int], int]], padding: Callable[..., tuple[Tensor, Tensor]]) -> object:
    sequences, prompt_lengths = zip(*batch, strict=True)
    return padding(sequences, prompt_lengths=prompt_lengths)


def preference_loaders(
    train_set: Preferences, val_set: Preferences, batch_size: int, pad_id: int, group_by_length: bool = False
) -> tuple[Loader, Loader]:
    """Return loaders over pairs of answers, padded batch by batch; see `collate_pairs`."""
    padding = partial(collate_pairs, pad_id=pad_id, max_length=train_set.max_length)
    lengths = [max(map(len, pair.sequences)) for pair in train_set] if group_by_length else None
    return _padded_loaders(train_set, val_set, batch_size, padding, lengths)


def _padded_loaders(
    train_set: Dataset,
    val_set: Dataset,
    batch_size: int,
    collate_fn: Callable[..., object],
    lengths: Sequence[int] | None,
) -> tuple[Loader, Loader]:
    """Return the two loaders; the first one's batches are of similar lengths where these are given."""
    loader, val_loader = _loaders(train_set, val_set, batch_size, collate_fn=collate_fn)
    if lengths is not None:
        loader = DataLoader(train_set, batch_sampler=SimilarLengths(lengths, batch_size), collate_fn=collate_fn)
    return loader, val_loader


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
