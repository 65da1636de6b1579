"""Batches of about equally long sequences."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import Dataset

from gpt_from_scratch.data.batches.similar_lengths import SimilarLengths
from gpt_from_scratch.data.instructions.loaders import instruction_loaders


@pytest.fixture
def lengths():
    return torch.randint(40, 90, (203,), generator=torch.Generator().manual_seed(2)).tolist()


class Sequences(Dataset):
    max_length = 100

    def __init__(self, lengths):
        self._lengths = lengths

    def __len__(self):
        return len(self._lengths)

    def __getitem__(self, index):
        return [index] * self._lengths[index]


def test_an_epoch_has_full_batches_and_no_sequence_twice(lengths):
    batches = list(SimilarLengths(lengths, 8))
    assert len(batches) == len(SimilarLengths(lengths, 8)) == 25
    assert {len(batch) for batch in batches} == {8}
    assert len({number for batch in batches for number in batch}) == 200


def test_lengths_in_a_batch_are_similar(lengths):
    def padding(batches):
        longest = sum(len(batch) * max(lengths[number] for number in batch) for batch in batches)
        return longest / sum(lengths[number] for batch in batches for number in batch) - 1

    torch.manual_seed(1)
    by_chance = padding(torch.randperm(203)[:200].view(25, 8).tolist())
    assert padding(SimilarLengths(lengths, 8)) < 0.7 * by_chance
    assert padding(SimilarLengths(lengths, 8, pool=8)) < 0.4 * by_chance


def test_epochs_differ_and_short_ones_do_not_come_first(lengths):
    torch.manual_seed(1)
    first, second = (list(SimilarLengths(lengths, 8)) for _ in range(2))
    assert sorted(map(sorted, first)) != sorted(map(sorted, second))
    means = [sum(lengths[number] for number in batch) for batch in first]
    assert means != sorted(means)


def test_the_global_generator_gives_an_epoch_again(lengths):
    batches = SimilarLengths(lengths, 8)
    torch.manual_seed(5)
    list(batches)
    state = torch.get_rng_state()
    second = list(batches)
    torch.set_rng_state(state)
    assert list(batches) == second


def test_the_loader(lengths):
    sequences = Sequences(lengths)
    grouped, val_loader = instruction_loaders(sequences, sequences, 8, 50256, group_by_length=True)
    assert len(grouped) == 25
    assert all(inputs.shape[0] == 8 for inputs, _ in grouped)
    assert len(val_loader) == 26
    torch.manual_seed(4)
    plain, _ = instruction_loaders(sequences, sequences, 8, 50256)
    first = next(iter(plain))[0][:, 0]
    torch.manual_seed(4)
    torch.empty((), dtype=torch.int64).random_()  # the loader's own draw, before its sampler's
    seed = int(torch.empty((), dtype=torch.int64).random_())
    assert torch.equal(first, torch.randperm(203, generator=torch.Generator().manual_seed(seed))[:8])
