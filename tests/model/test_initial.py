"""GPT-2's initial weights: their deviations, and that a model with tied embeddings starts well and learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.initial import draw_gpt2_weights

SHAPE = {"vocab_size": 1536, "context_length": 64, "emb_dim": 128, "n_heads": 4, "n_layers": 4, "drop_rate": 0.0}


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request) -> GPTModel:
    torch.manual_seed(123)
    model = GPTModel(GPTConfig(**SHAPE, qkv_bias=True, tie_weights=request.param))
    draw_gpt2_weights(model)
    return model


def test_deviations_are_openais(model) -> None:
    for name, values in model.named_parameters():
        if "norm" in name:
            assert torch.equal(values, torch.full_like(values, float("scale" in name))), name
        elif values.dim() == 1:
            assert not values.any(), name
        else:
            last = name.endswith(("att.out_proj.weight", "ff.layers.2.weight"))
            expected = 0.01 if "pos_emb" in name else 0.02 / math.sqrt(8) if last else 0.02
            assert values.std().item() == pytest.approx(expected, rel=0.05), name
            assert abs(values.mean().item()) < expected / 20, name
    assert (model.out_head.weight is model.tok_emb.weight) == model.config.tie_weights


def test_it_starts_at_the_logarithm_of_the_vocabulary_and_learns(model) -> None:
    ids = torch.arange(8 * 64).reshape(8, 64) % 50
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(1536), abs=0.3)
    assert losses[-1] < 1.0
