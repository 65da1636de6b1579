"""The table of GPT-2's tensors, and models built without drawing weights."""

from __future__ import annotations

import json
import math

import pytest
import torch

from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.weights.layout import empty_model, fill_model, gpt2_tensors, named_parameters

PARAMETERS = {"124M": 124_439_808, "355M": 354_823_168, "774M": 774_030_080, "1558M": 1_557_611_200}


@pytest.mark.parametrize("size", GPT2_SIZES)
def test_parameter_counts_of_the_published_models(size) -> None:
    assert sum(math.prod(tensor.shape) for tensor in gpt2_tensors(GPT2_SIZES[size])) == PARAMETERS[size]


def test_the_official_index_of_124m(mirror) -> None:
    index = json.loads((mirror / "gpt2/124M-tensor-index.json").read_text(encoding="utf-8"))
    expected = {tensor.openai: list(tensor.openai_shape) for tensor in gpt2_tensors(GPT2_SIZES["124M"])}
    assert len(expected) == 148
    assert expected == {name: entry["shape"] for name, entry in index.items()}
    assert {entry["dtype"] for entry in index.values()} == {1}  # TensorFlow's DT_FLOAT


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_every_parameter_has_its_place_once(random_model, qkv_bias) -> None:
    model = random_model(qkv_bias=qkv_bias)
    named = [name for tensor in gpt2_tensors(model.config) for name in tensor.parameters]
    assert sorted(named) == sorted(set(named_parameters(model)) - {"out_head.weight"})


@pytest.mark.parametrize("adopt", [False, True])
def test_stored_and_read_again(random_model, adopt) -> None:
    model = random_model()
    copy = empty_model(model.config)
    parameters = named_parameters(model)
    fill_model(copy, ((t, t.from_parameters(parameters).clone()) for t in gpt2_tensors(model.config)), adopt=adopt)
    for name, values in copy.state_dict().items():
        assert torch.equal(values, model.state_dict()[name]), name
    assert copy.out_head.weight is copy.tok_emb.weight


def test_an_empty_model_draws_no_random_numbers() -> None:
    state = torch.get_rng_state()
    model = empty_model(GPTConfig(300, 16, 32, 4, 2, tie_weights=True))
    classifier = empty_model(GPTConfig(300, 16, 32, 4, 2, tie_weights=True), n_outputs=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.out_head.weight is model.tok_emb.weight
    assert classifier.out_head.weight.shape == (2, 32)
    assert classifier.out_head.bias.shape == (2,)
    assert all(parameter.requires_grad for parameter in classifier.parameters())


def test_an_empty_model_of_full_size_takes_no_time() -> None:
    model = empty_model(GPT2_SIZES["1558M"])  # six gigabytes of addresses, none of them touched
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS["1558M"]
