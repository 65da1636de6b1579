"""Loaders over instructions and over preference pairs, padded batch by batch (chapter 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gpt_from_scratch.data.batches.loaders import Loader, loader_pair
from gpt_from_scratch.data.batches.similar_lengths import SimilarLengths
from gpt_from_scratch.data.instructions.entries import Instructions, collate
from gpt_from_scratch.data.instructions.preferences import Preferences, collate_pairs


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
        mask_instruction: let the tokens of the prompts be no targets, in both sets (exercise 7.2). Those of a
            conversation of several turns never are.

    Raises:
        InputError: as `Instructions.learnt` does.
    """
    padding = partial(collate, pad_id=pad_id, max_length=train_set.max_length)
    lengths = [len(ids) for ids in train_set] if group_by_length else None
    if not isinstance(train_set, Instructions):  # bare sequences, all of them learnt
        return _padded_loaders(train_set, val_set, batch_size, padding, lengths)
    sets = [list(zip(part, part.learnt(mask_instruction), strict=True)) for part in (train_set, val_set)]
    return _padded_loaders(*sets, batch_size, partial(_masked, padding=padding), lengths)


def _masked(batch: Sequence[tuple[list[int], list]], padding: Callable[..., tuple[Tensor, Tensor]]) -> object:
    sequences, learnt = zip(*batch, strict=True)
    return padding(sequences, learnt=learnt)


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
    loader, val_loader = loader_pair(train_set, val_set, batch_size, collate_fn=collate_fn)
    if lengths is not None:
        loader = DataLoader(train_set, batch_sampler=SimilarLengths(lengths, batch_size), collate_fn=collate_fn)
    return loader, val_loader
