"""What goes on inside a model, against `transformers` and against slopes as measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPT2LMHeadModel

from gpt_from_scratch.evaluation.inside import attention_maps, influences, surprises
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.layers import use_kernels
from gpt_from_scratch.model.sequences import DecidingToken
from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe
from gpt_from_scratch.weights.huggingface import save_model

IDS = torch.randint(0, 300, (11,), generator=torch.Generator().manual_seed(4))


@pytest.fixture
def model() -> GPTModel:
    """Large weights, so that heads look at some tokens much more than at others."""
    shape = {"vocab_size": 300, "context_length": 16, "emb_dim": 24, "n_heads": 3, "n_layers": 2, "drop_rate": 0.0}
    torch.manual_seed(3)
    model = GPTModel(GPTConfig(**shape, qkv_bias=True, tie_weights=True)).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.4)
    return model


@pytest.fixture
def theirs(model: GPTModel, tmp_path: Path) -> GPT2LMHeadModel:
    """The same weights in `transformers`."""
    for name in ("tokenizer", "model"):
        (tmp_path / name).mkdir()
    text = "The keeper of the light kept the keys; he keeps them still, they say. Bananas, bandanas, cafés.\n" * 3
    save_bpe(*train_bpe(text, 300), tmp_path / "tokenizer")
    save_model(model, tmp_path / "model", tmp_path / "tokenizer")
    return GPT2LMHeadModel.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()


@pytest.mark.parametrize("kernels", ["explicit", "fused"])
@torch.no_grad()
def test_the_maps_are_those_of_transformers(model: GPTModel, theirs: GPT2LMHeadModel, kernels: str) -> None:
    use_kernels(model, kernels)
    maps = attention_maps(model, IDS)
    expected = torch.cat(theirs(IDS[None], output_attentions=True).attentions)
    assert maps.shape == (2, 3, 11, 11)
    assert torch.allclose(maps, expected, rtol=0.0, atol=1e-5)
    assert expected.max(-1).values[:, :, 1:].min() < 0.5 < expected[:, :, 5:].max()  # heads differ in what they look at


@torch.no_grad()
def test_the_maps_are_the_weights_that_the_model_uses(model: GPTModel) -> None:
    """The block's own output is the values, weighted by the map."""
    maps, x = attention_maps(model, IDS), model.embed(IDS[None])
    for layer, block in enumerate(model.trf_blocks):
        normed = block.norm1(x)
        values = block.att.W_value(normed).view(11, 3, 8)
        context = torch.einsum("hqk,khd->qhd", maps[layer], values).reshape(1, 11, 24)
        assert torch.allclose(block.att.out_proj(context), block.att(normed), rtol=0.0, atol=1e-4)
        x = block(x)


@torch.no_grad()
def test_surprise_is_minus_the_logarithm_of_the_probability(model: GPTModel, theirs: GPT2LMHeadModel) -> None:
    logarithms = torch.log_softmax(theirs(IDS[None]).logits[0], dim=-1)
    expected = [-logarithms[place, IDS[place + 1]].item() for place in range(10)]
    assert surprises(model, IDS).tolist() == pytest.approx(expected, abs=1e-3)
    assert len(surprises(model, IDS[:1])) == 0


@pytest.mark.parametrize(("classes", "deciding"), [(2, "last"), (3, "last_real"), (2, "first"), (2, "mean")])
def test_influence_is_the_slope_of_the_log_odds(model: GPTModel, classes: int, deciding: DecidingToken) -> None:
    model.out_head = nn.Linear(24, classes)
    model.double()
    model.requires_grad_(False)
    original = model.tok_emb.weight.clone()
    distinct = torch.arange(11) + 20

    def log_odds(step: float, place: int, label: int) -> float:
        model.tok_emb.weight.copy_(original)
        model.tok_emb.weight[distinct[place]] *= 1 + step
        logits = model(distinct[None])[0]
        logits = {"first": logits[0], "mean": logits.mean(0)}.get(deciding, logits[-1])
        probability = torch.softmax(logits, dim=-1)[label]
        return torch.logit(probability).item()

    for label in range(classes):
        measured = [(log_odds(1e-5, n, label) - log_odds(-1e-5, n, label)) / 2e-5 for n in range(11)]
        model.tok_emb.weight.copy_(original)
        assert influences(model, distinct, label, deciding).tolist() == pytest.approx(measured, rel=1e-5, abs=1e-7)


def test_influence_leaves_nothing_behind(random_model: Callable[..., GPTModel]) -> None:
    model = random_model()
    model.out_head = nn.Linear(16, 2)
    with torch.inference_mode(False), torch.no_grad():
        values = influences(model, IDS[:5] % 258, 0)
    assert not values.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
