"""A batch without its padding: the same loss and gradients as the whole one, for all that a batch can look like."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.fast import GPTModelFast
from gpt_from_scratch.model.fast_path import FastPath
from gpt_from_scratch.training.packing import pack
from gpt_from_scratch.training.tasks import IGNORED, LanguageModelling

CFG = {
    "vocab_size": 70,
    "context_length": 40,
    "emb_dim": 32,
    "n_heads": 4,
    "n_layers": 2,
    "drop_rate": 0.0,
    "qkv_bias": True,
    "kernels": "fused",
}
CPU = torch.device("cpu")


def batch(learnt):
    """Return inputs and targets of 30 tokens; `learnt` names in each row the slices that are learnt."""
    ids = torch.randint(70, (len(learnt), 31), generator=torch.Generator().manual_seed(3))
    targets = torch.full((len(learnt), 30), IGNORED)
    for row, slices in enumerate(learnt):
        for part in slices:
            targets[row, part] = ids[row, 1:][part]
    return ids[:, :-1], targets


BATCHES = {
    "no padding": [[slice(None)]] * 3,
    "padding": [[slice(n)] for n in (30, 12, 1, 22)],
    "prompts not learnt": [[slice(5, 20)], [slice(9, 11)], [slice(2, 30)]],
    "holes, and a row in which nothing is learnt": [[slice(3, 5), slice(9, 14)], [], [slice(1)]],
    "a single row": [[slice(8)]],
}


@pytest.fixture(params=["ours", "tied", "fast"])
def model(request):
    torch.manual_seed(1)
    if request.param == "fast":
        return GPTModelFast(CFG)
    return GPTModel({**CFG, "tie_weights": request.param == "tied"})


@pytest.mark.parametrize("learnt", BATCHES.values(), ids=BATCHES)
def test_loss_and_gradients(model, learnt):
    inputs, targets = batch(learnt)
    plain = copy.deepcopy(model)
    expected = F.cross_entropy(plain(inputs).flatten(0, 1), targets.flatten())
    expected.backward()
    loss = LanguageModelling().loss(model, (inputs, targets), CPU)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_no_padding_is_computed(model):
    inputs, targets = batch(BATCHES["padding"])
    seen = []
    model.trf_blocks[0].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    model.out_head.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    LanguageModelling().loss(model, (inputs, targets), CPU)
    assert seen == [(1, 30 + 12 + 1 + 22, 32), (65, 70)]


def test_what_a_batch_counts_is_not_changed_by_it():
    padded = batch(BATCHES["padding"])
    assert LanguageModelling().count(padded) == 4 * 30
    assert LanguageModelling().weight(padded) == 65


def test_sequences_one_behind_the_other(model):
    inputs, targets = batch(BATCHES["prompts not learnt"])
    packed, packed_targets, lengths = pack(inputs, targets, IGNORED)
    assert lengths == [20, 11, 30]
    assert packed.shape == packed_targets.shape == (1, 61)
    states = model.hidden_states(packed, fast=FastPath(lengths))
    alone = torch.cat(
        [model.hidden_states(row[None, :length]) for row, length in zip(inputs, lengths, strict=True)], dim=1
    )
    torch.testing.assert_close(states, alone, rtol=1e-5, atol=1e-5)


def test_a_batch_in_which_nothing_is_learnt(model):
    assert LanguageModelling().loss(model, batch([[], []]), CPU).isnan()
