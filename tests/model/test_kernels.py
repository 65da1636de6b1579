"""The two kernels compute the same, with a cache and without."""

from __future__ import annotations

import pytest
import torch

from gpt_from_scratch.model import GPTModel, KVCache, MultiHeadAttention
from gpt_from_scratch.model.fast import with_one_projection
from gpt_from_scratch.model.layers import use_kernels

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
def models():
    made = []
    for kernels in ("explicit", "fused"):
        torch.manual_seed(123)
        made.append(GPTModel({**CFG, "kernels": kernels}))
    return made


def test_the_configuration_reaches_every_part(models):
    explicit, fused = models
    assert {part.kernels for part in explicit.modules() if hasattr(part, "kernels")} == {"explicit"}
    assert {part.kernels for part in fused.modules() if hasattr(part, "kernels")} == {"fused"}
    # Two norms, attention, GELU and six linear layers in each block; the final norm, the output head, and the model.
    assert sum(hasattr(part, "kernels") for part in fused.modules()) == 2 * 10 + 3


def test_logits_and_gradients_are_equal(models):
    for model in models:
        model(IDS).logsumexp(dim=-1).sum().backward()
    torch.testing.assert_close(models[0](IDS), models[1](IDS), atol=1e-5, rtol=1e-5)
    for left, right in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pieces", [[6], [1] * 6, [2, 4], [4, 1, 1], [3, 3]])
@pytest.mark.parametrize("number", [0, 1])
def test_tokens_given_piece_by_piece(models, number, pieces):
    model = models[number]
    cache = KVCache(model.config, 2, 6, torch.device("cpu"), torch.float32)
    logits = torch.cat([model(part, cache) for part in IDS.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(logits, models[0](IDS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("number", [0, 1])
def test_compiled_for_any_length_it_stays_one_graph(models, number):
    compiled = torch.compile(models[number], backend="eager", fullgraph=True, dynamic=True)
    torch._dynamo.reset()
    for tokens in (6, 4, 3):
        torch.testing.assert_close(compiled(IDS[:, :tokens]), models[0](IDS[:, :tokens]), atol=1e-5, rtol=1e-5)


def test_the_choice_can_be_changed_afterwards(models):
    use_kernels(models[0], "fused")
    assert torch.equal(models[0](IDS), models[1](IDS))


@pytest.mark.parametrize("biased", [True, False])
def test_attention_with_one_projection_is_the_same(biased):
    torch.manual_seed(1)
    attention = MultiHeadAttention(16, 24, 8, 0.0, 3, qkv_bias=biased).eval()
    merged = with_one_projection(attention)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(merged(x), attention(x), atol=1e-6, rtol=1e-5)
    assert not merged.training
