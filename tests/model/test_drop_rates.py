"""A dropout rate for each of the three places (exercise 4.3), against the reference's model with its rates set so."""

from __future__ import annotations

import pytest
import torch
from llms_from_scratch.ch04 import GPTModel as ReferenceModel

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.fast import GPTModelFast

SHAPE = {"vocab_size": 60, "context_length": 16, "emb_dim": 24, "n_heads": 3, "n_layers": 2, "qkv_bias": False}
IDS = torch.arange(20).view(2, 10)


def reference(emb: float, attn: float, shortcut: float) -> ReferenceModel:
    torch.manual_seed(1)
    model = ReferenceModel({**SHAPE, "drop_rate": 0.1})
    model.drop_emb.p = emb
    for block in model.trf_blocks:
        block.att.dropout.p, block.drop_resid.p = attn, shortcut
    return model


def output(model: torch.nn.Module, seed: int = 2) -> torch.Tensor:
    torch.manual_seed(seed)
    return model.train()(IDS)


@pytest.mark.parametrize(
    "rates", [(0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5), (0.1, 0.2, 0.3), (0.0, 0.0, 0.0)], ids=str
)
def test_each_place_has_its_own(rates):
    torch.manual_seed(1)
    names = ("drop_rate_emb", "drop_rate_attn", "drop_rate_shortcut")
    ours = GPTModel({**SHAPE, **dict(zip(names, rates, strict=True))})
    torch.testing.assert_close(output(ours), output(reference(*rates)), rtol=1e-5, atol=1e-6)
    assert torch.equal(output(ours), output(ours, seed=3)) == (not any(rates))


def test_where_one_is_not_given_it_is_the_common_one():
    assert GPTConfig(drop_rate=0.2, drop_rate_attn=0.0).drop_rates == (0.2, 0.0, 0.2)
    torch.manual_seed(1)
    ours = GPTModel({**SHAPE, "drop_rate": 0.2, "drop_rate_attn": 0.0})
    torch.testing.assert_close(output(ours), output(reference(0.2, 0.0, 0.2)), rtol=1e-5, atol=1e-6)


def test_the_fast_model_has_them_too():
    model = GPTModelFast({**SHAPE, "drop_rate": 0.1, "drop_rate_attn": 0.3, "drop_rate_shortcut": 0.4})
    assert model.drop_emb.p == 0.1
    assert [(block.att.dropout, block.drop_resid.p) for block in model.trf_blocks] == [(0.3, 0.4)] * 2


@pytest.mark.parametrize("name", ["drop_rate_emb", "drop_rate_attn", "drop_rate_shortcut"])
def test_no_probability_is_refused(name):
    with pytest.raises(InputError, match=rf"{name} must lie in \[0, 1\), found 1\.0"):
        GPTConfig(**{name: 1.0})


def test_without_a_common_rate_all_three_are_needed():
    with pytest.raises(KeyError, match="drop_rate"):
        GPTConfig.of({**SHAPE, "drop_rate_emb": 0.1, "drop_rate_attn": 0.1})
