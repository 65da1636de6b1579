"""LoRA: nothing changes at first, only A and B learn, and the update does not grow with the rank."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gpt_from_scratch.generation import generate
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.lora import LinearWithLoRA, LoRALayer, replace_linear_with_lora

SMALL = {
    "vocab_size": 64,
    "context_length": 16,
    "emb_dim": 16,
    "n_heads": 2,
    "n_layers": 2,
    "drop_rate": 0.0,
    "qkv_bias": True,
}
IDS = torch.tensor([[15, 11, 31], [61, 36, 20]])


def seeded(make, *args):
    torch.manual_seed(123)
    return make(*args)


def test_the_update_is_scaled_by_alpha_over_rank():
    layer = LoRALayer(6, 4, rank=8, alpha=2)
    nn.init.normal_(layer.B)
    x = torch.rand(3, 5, 6)
    torch.testing.assert_close(layer(x), 0.25 * x @ layer.A @ layer.B)


def test_initial_weights_equal_the_references():
    reference = pytest.importorskip("llms_from_scratch.appendix_e")
    ours, theirs = (seeded(module, 6, 4, 3, 1) for module in (LoRALayer, reference.LoRALayer))
    assert torch.equal(ours.A, theirs.A)
    assert torch.equal(ours.B, theirs.B)


def test_the_references_unscaled_alpha_is_ours_times_the_rank():
    reference = pytest.importorskip("llms_from_scratch.appendix_e")
    ours, theirs = seeded(LoRALayer, 6, 4, 3, 2 * 3), seeded(reference.LoRALayer, 6, 4, 3, 2)
    nn.init.normal_(ours.B)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(5, 6)
    torch.testing.assert_close(ours(x), theirs(x))


def test_every_linear_layer_is_replaced_once_and_nothing_changes_yet():
    model = seeded(GPTModel, SMALL).eval()
    before = model(IDS)
    linear = sum(isinstance(module, nn.Linear) for module in model.modules())
    for _ in range(2):
        replace_linear_with_lora(model, rank=4, alpha=8)
    assert sum(isinstance(module, LinearWithLoRA) for module in model.modules()) == linear == 2 * 6 + 1
    assert sum(isinstance(module, nn.Linear) for module in model.modules()) == linear
    torch.testing.assert_close(model(IDS), before)
    assert generate(model, IDS.tolist(), 5) == generate(model, IDS.tolist(), 5, use_cache=False)


def test_parameters_equal_the_references():
    reference = pytest.importorskip("llms_from_scratch.appendix_e")
    from llms_from_scratch.ch04 import GPTModel as TheirGPTModel

    ours, theirs = seeded(GPTModel, SMALL), seeded(TheirGPTModel, SMALL)
    seeded(replace_linear_with_lora, ours, 4, 8)
    seeded(reference.replace_linear_with_lora, theirs, 4, 8)
    expected = dict(theirs.named_parameters())
    assert list(dict(ours.named_parameters())) == list(expected)
    assert all(torch.equal(weight, expected[name]) for name, weight in ours.named_parameters())


def test_appendix_e_counts_its_parameters():
    with torch.device("meta"):
        model = GPTModel({**SMALL, "vocab_size": 50257, "context_length": 1024, "emb_dim": 768, "n_layers": 12})
        model.out_head = nn.Linear(768, 2)
        model.requires_grad_(False)
        replace_linear_with_lora(model, rank=16, alpha=16)
    # Section E.3 prints this figure for GPT-2 124M.
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == 2_666_528
