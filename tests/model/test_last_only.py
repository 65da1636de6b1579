"""The last token alone: the same logits and gradients as when all are computed, padded or one behind the other."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from gpt_from_scratch.model import GPTModel, KVCache
from gpt_from_scratch.model.fast import GPTModelFast
from gpt_from_scratch.model.fast_path import FastPath
from gpt_from_scratch.model.sequences import Sequences, last_tokens

CFG = {
    "vocab_size": 70,
    "context_length": 40,
    "emb_dim": 32,
    "n_heads": 4,
    "n_layers": 3,
    "drop_rate": 0.0,
    "qkv_bias": True,
}
LENGTHS = [12, 1, 30, 5]


@pytest.fixture(params=["explicit", "fused", "fast"])
def model(request):
    torch.manual_seed(1)
    if request.param == "fast":
        return GPTModelFast(CFG)
    return GPTModel({**CFG, "kernels": request.param})


@pytest.fixture
def ids():
    return torch.randint(70, (4, 30), generator=torch.Generator().manual_seed(3))


def assert_same(model, found, other, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for logits in (found, expected):
        logits.square().sum().backward()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def test_of_rows(model, ids):
    plain = copy.deepcopy(model)
    logits = model(ids, fast=FastPath(last_only=True))
    assert logits.shape == (4, 1, 70)
    assert_same(model, logits[:, 0], plain, plain(ids)[:, -1])


def test_of_sequences_of_different_lengths(model, ids):
    plain = copy.deepcopy(model)
    sequences = Sequences.of([row[:length] for row, length in zip(ids, LENGTHS, strict=True)])
    assert (sequences.lengths, sequences.values.shape) == (LENGTHS, (1, 48))
    logits = model(sequences.values, fast=FastPath(sequences.lengths, last_only=True))
    assert logits.shape == (1, 4, 70)
    expected = [plain(row[None, :length])[0, -1] for row, length in zip(ids, LENGTHS, strict=True)]
    assert_same(model, logits[0], plain, torch.stack(expected))


def test_only_the_last_block_is_spared(model, ids):
    shapes = []
    for block in model.trf_blocks:
        block.ff.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape)))
    model(ids, fast=FastPath(last_only=True))
    assert shapes == [(4, 30, 32), (4, 30, 32), (4, 1, 32)]


@torch.no_grad()
def test_with_a_cache(model, ids):
    cache = KVCache(model.config, 4, 30, torch.device("cpu"), torch.float32)
    last = FastPath(last_only=True)
    model(ids[:, :20], cache, last)
    torch.testing.assert_close(model(ids[:, 20:], cache, last), model(ids)[:, -1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last_only", [False, True])
@torch.no_grad()
def test_with_a_cache_of_rows_that_differ_in_length(model, ids, last_only):
    """The cache's mask hides what stands behind a shorter row's tokens, and each token has its row's own position."""
    cache = KVCache(model.config, 4, 30, torch.device("cpu"), torch.float32)
    model(ids, cache)
    places = torch.tensor(LENGTHS) - 1
    cache.seek(29, places)
    found = model(ids.gather(1, places[:, None]), cache, FastPath(last_only=last_only))
    expected = torch.stack([model(row[None, :length])[0, -1:] for row, length in zip(ids, LENGTHS, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, model(ids)[:, -1:], atol=1e-3)


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("first_block", [1, 2, 3])
@torch.no_grad()
def test_a_model_in_two_parts(model, ids, first_block, last_only):
    fast = FastPath(last_only=last_only)
    states = model.run_blocks(model.embed(ids), range(first_block), fast=fast)
    whole = model(ids, fast=fast)
    assert torch.equal(model(states, fast=replace(fast, first_block=first_block)), whole)


def test_last_tokens():
    x = torch.arange(24).view(1, 8, 3)
    assert last_tokens(x, None).tolist() == [[[21, 22, 23]]]
    assert last_tokens(x, [2, 5, 1]).tolist() == [[[3, 4, 5], [18, 19, 20], [21, 22, 23]]]
