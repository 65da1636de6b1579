"""Models in which every token sees all of its sequence (the companion's row 17)."""

from __future__ import annotations

import pytest
import torch
from llms_from_scratch.ch04 import GPTModel as ReferenceModel

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation import generate
from gpt_from_scratch.model import GPTConfig, GPTModel, KVCache
from gpt_from_scratch.model.fast import GPTModelFast, with_one_projection
from gpt_from_scratch.model.fast_path import FastPath
from gpt_from_scratch.model.heads import set_causal

CFG = {
    "vocab_size": 64,
    "context_length": 16,
    "emb_dim": 16,
    "n_heads": 2,
    "n_layers": 2,
    "drop_rate": 0.0,
    "qkv_bias": True,
}
IDS = torch.tensor([[15, 11, 31, 7, 9, 2], [61, 36, 20, 8, 1, 3]])


@pytest.fixture
def reference():
    """The reference without its masks."""
    torch.manual_seed(1)
    model = ReferenceModel(CFG).eval()
    for block in model.trf_blocks:
        block.att.mask.zero_()
    return model


@pytest.fixture(params=["explicit", "fused", "one projection", "set afterwards"])
def model(request, reference):
    kernels = request.param if request.param in ("explicit", "fused") else "fused"
    ours = GPTModel({**CFG, "kernels": kernels, "causal": request.param == "set afterwards"}).eval()
    ours.load_state_dict(reference.state_dict())
    if request.param == "one projection":
        for block in ours.trf_blocks:
            block.att = with_one_projection(block.att)
    if request.param == "set afterwards":
        set_causal(ours, False)
    return ours


@torch.no_grad()
def test_logits_are_those_of_the_reference_without_masks(model, reference):
    expected = reference(IDS)
    torch.testing.assert_close(model(IDS), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(IDS, fast=FastPath(last_only=True)), expected[:, -1:], rtol=1e-4, atol=1e-5)
    states = model.run_blocks(model.embed(IDS), range(1))
    torch.testing.assert_close(model(states, fast=FastPath(first_block=1)), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_so_do_pytorchs_own_parts():
    for causal in (True, False):
        model = GPTModelFast({**CFG, "causal": causal}).eval()
        changed = IDS.clone()
        changed[:, -1] = 0
        assert torch.allclose(model(IDS)[:, 0], model(changed)[:, 0]) == causal


def test_it_writes_nothing(model):
    message = "expected a causal .*, found one whose tokens see later tokens"
    for use_cache in (True, False):
        with pytest.raises(InputError, match=f"model: {message}"):
            generate(model, [[1, 2]], 3, use_cache=use_cache)
    with pytest.raises(InputError, match=f"KV cache: {message}"):
        KVCache(model.config, 1, 4, torch.device("cpu"), torch.float32)


def test_the_books_dictionary_means_a_causal_model():
    assert GPTConfig.of(CFG).causal
    assert not GPTConfig.of({**CFG, "causal": False}).causal
