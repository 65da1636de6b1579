"""8-bit weights: near the ones they replace, each row by itself, and used by what evaluates."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from torch.nn import functional as F

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation import generate
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.int8 import Int8Linear, W8A8Linear, has_vnni, to_int8

pytestmark = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="FBGEMM is for x86-64 processors"
)
vnni = pytest.mark.skipif(not has_vnni(), reason="this processor lacks AVX-512 VNNI")
CFG = {
    "vocab_size": 64,
    "context_length": 32,
    "emb_dim": 32,
    "n_heads": 2,
    "n_layers": 2,
    "drop_rate": 0.0,
    "qkv_bias": True,
}


def layer(bias: bool = True) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(96, 40, bias=bias).requires_grad_(False)


def relative_error(expected: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    return (expected - found).norm(dim=-1) / expected.norm(dim=-1)


@pytest.mark.parametrize("bias", [True, False])
def test_only_the_rounding_of_the_weights_is_felt(bias):
    """Against the same product with rounded weights, whole activations and double precision."""
    linear, x = layer(bias), torch.randn(7, 96)
    scales = linear.weight.abs().amax(dim=1, keepdim=True) / 127
    rounded = (linear.weight / scales).round() * scales
    exact = F.linear(x.double(), rounded.double(), linear.bias.double() if bias else None)
    found = Int8Linear(linear)(x)
    assert relative_error(exact, found.double()).max() < 3e-4
    assert 1e-3 < relative_error(linear(x), found).max() < 1e-2


@pytest.mark.parametrize("outlier", [1e3, 1e-3])
def test_an_outlier_does_not_drown_the_rest(outlier):
    linear, x = layer(bias=False), torch.randn(3, 96)
    x[1, 5] = outlier
    assert relative_error(linear(x), Int8Linear(linear)(x)).max() < 1e-2


def test_extreme_factors_are_added_without_overflow():
    """Where processors without VNNI add two products in 16 bits."""
    linear = layer(bias=False)
    linear.weight.copy_(torch.ones(40, 96))
    for x in (torch.ones(1, 96), -torch.ones(1, 96), torch.tensor([1.0, -1.0]).repeat(1, 48)):
        torch.testing.assert_close(Int8Linear(linear)(x), linear(x), atol=1e-4, rtol=1e-5)


def test_a_row_does_not_depend_on_those_beside_it():
    linear, x = Int8Linear(layer()), torch.randn(6, 96) * torch.tensor([1e4, 1.0, 1e-4, 0.0, 3.0, 1.0])[:, None]
    together = linear(x)
    for row in range(6):
        assert torch.equal(linear(x[row : row + 1]), together[row : row + 1])
    assert torch.equal(linear(x.view(2, 3, 96)), together.view(2, 3, 40))


def test_rows_and_outputs_of_zeros():
    linear = layer()
    linear.weight[3] = 0
    found = Int8Linear(linear)(torch.cat([torch.zeros(1, 96), torch.ones(1, 96)]))
    assert torch.equal(found[0], linear.bias)
    assert found[1, 3] == linear.bias[3]


@vnni
@pytest.mark.parametrize("bias", [True, False])
@given(
    x=arrays(np.float32, (3, 96), elements=st.floats(-1e4, 1e4, width=32)),
    shift=st.sampled_from([0.0, 1e3, -1e3]),
)
@settings(max_examples=60, deadline=None)
def test_a_row_in_8_bits_is_off_by_half_a_step_at_most(bias, x, shift):
    """In exact arithmetic the error of an output is at most half a step in each input, times its weight."""
    linear, rows = layer(bias), torch.from_numpy(x) + shift
    scales = linear.weight.abs().amax(dim=1, keepdim=True) / 127
    rounded = ((linear.weight / scales).round() * scales).double()
    exact = F.linear(rows.double(), rounded, linear.bias.double() if bias else None)
    step = (rows.amax(dim=1) - rows.amin(dim=1)).double() / 254
    largest = (step / 2)[:, None] * rounded.abs().sum(dim=1) + 1e-5 * rows.abs().sum(dim=1, keepdim=True) + 1e-6
    assert ((W8A8Linear(linear)(rows) - exact).abs() <= largest).all()


@vnni
def test_in_8_bits_too_a_row_does_not_depend_on_those_beside_it():
    linear, x = W8A8Linear(layer()), torch.randn(6, 96) * torch.tensor([1e4, 1.0, 1e-4, 0.0, 3.0, 1.0])[:, None]
    together = linear(x)
    for row in range(6):
        assert torch.equal(linear(x[row : row + 1]), together[row : row + 1])
    assert torch.equal(linear(x.view(2, 3, 96)), together.view(2, 3, 40))
    assert torch.equal(together[3], layer().bias)


@vnni
def test_in_8_bits_the_largest_factors_are_added_without_overflow():
    linear = layer(bias=False)
    linear.weight.copy_(torch.ones(40, 96))
    x = torch.ones(1, 96)
    x[0, 0] = -1
    torch.testing.assert_close(W8A8Linear(linear)(x), linear(x), atol=1e-4, rtol=1e-5)


def test_8_bits_for_activations_need_the_instructions(monkeypatch):
    monkeypatch.setattr("gpt_from_scratch.model.int8.has_vnni", lambda: False)
    with pytest.raises(InputError, match="expected a processor with AVX-512 VNNI, found one without"):
        to_int8(GPTModel(CFG), activation_bits=8)


@pytest.fixture
def learnt() -> tuple[GPTModel, torch.Tensor, torch.Tensor]:
    """A model that has learnt a sequence partly, with it."""
    torch.manual_seed(3)
    model = GPTModel({**CFG, "tie_weights": True})
    ids = torch.randint(64, (4, 33))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()
    return model.eval(), ids[:, :-1], ids[:, 1:]


@pytest.mark.parametrize("activation_bits", [14, pytest.param(8, marks=vnni)])
@torch.no_grad()
def test_perplexity_stays_within_one_percent(learnt, activation_bits):
    model, inputs, targets = learnt
    losses = []
    for _ in range(2):
        losses.append(F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).item())
        assert to_int8(model, activation_bits) is model
    assert losses[0] < math.log(64) / 2
    assert losses[0] != losses[1]
    assert math.exp(abs(losses[1] - losses[0])) < 1.01


def test_every_linear_layer_is_replaced_and_it_decodes(learnt):
    model, inputs, _ = learnt
    expected = generate(model, [inputs[0, :8].tolist()], 8)
    embedding = model.tok_emb.weight
    to_int8(model)
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    assert sum(isinstance(module, Int8Linear) for module in model.modules()) == 2 * 4 + 1
    assert model.tok_emb.weight is embedding
    assert generate(model, [inputs[0, :8].tolist()], 8) == expected  # learnt by heart, so that no rounding changes it
    prompts = [row[: 3 + 4 * number].tolist() for number, row in enumerate(inputs)]
    assert generate(model, prompts, 9) == [generate(model, [prompt], 9)[0] for prompt in prompts]


def test_no_warning_and_no_global_choice_is_left_behind():
    engine = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Int8Linear(layer())(torch.ones(1, 96))
    assert torch.backends.quantized.engine == engine


def test_other_devices_are_refused_by_the_keys_name():
    with pytest.raises(InputError, match=r"evaluate\.weights: int8 needs runtime\.device cpu, found meta"):
        to_int8(GPTModel(CFG).to("meta"))
