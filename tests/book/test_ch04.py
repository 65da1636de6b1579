"""Chapters 3 and 4: the same weights and logits as the reference's under one seed, and its generation."""

from __future__ import annotations

import pytest
import torch

from gpt_from_scratch.book import ch03, ch04
from gpt_from_scratch.model import KVCache

pytest.importorskip("llms_from_scratch")
from llms_from_scratch import ch03 as theirs_03
from llms_from_scratch import ch04 as theirs_04

IDS = torch.tensor([[15, 11, 31, 71], [61, 36, 200, 34]])


def seeded(make, *args, **kwargs):
    torch.manual_seed(123)
    return make(*args, **kwargs)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("SelfAttention_v1", (8, 4)),
        ("SelfAttention_v2", (8, 4)),
        ("SelfAttention_v2", (8, 4, True)),
        ("CausalAttention", (8, 4, 6, 0.5)),
        ("MultiHeadAttentionWrapper", (8, 4, 6, 0.5, 2, True)),
        ("MultiHeadAttention", (8, 4, 6, 0.5, 2, True)),
        ("PyTorchMultiHeadAttention", (8, 4, 2, 0.5, True)),
    ],
)
def test_attention_equals_the_references(name, args):
    ours, theirs = seeded(getattr(ch03, name), *args), seeded(getattr(theirs_03, name), *args)
    x = torch.rand(5, 8) if name.startswith("Self") else torch.rand(3, 5, 8)
    torch.manual_seed(7)  # the same dropout
    found = ours(x)
    torch.manual_seed(7)
    torch.testing.assert_close(found, theirs(x))
    theirs.load_state_dict(ours.state_dict(), strict=name != "MultiHeadAttention")
    ours.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize("name", ["GPTModel", "GPTModelFast", "TransformerBlock", "TransformerBlockFast"])
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_model_equals_the_references(small, name, qkv_bias):
    cfg = {**small, "qkv_bias": qkv_bias}
    ours, theirs = seeded(getattr(ch04, name), cfg), seeded(getattr(theirs_04, name), cfg)
    state = {key: value for key, value in theirs.state_dict().items() if not key.endswith("mask")}
    assert list(ours.state_dict()) == list(state)
    assert all(torch.equal(ours.state_dict()[key], value) for key, value in state.items())
    inputs = IDS if name.startswith("GPT") else torch.rand(2, 4, 16)
    torch.manual_seed(7)
    found = ours(inputs)
    torch.manual_seed(7)
    torch.testing.assert_close(found, theirs(inputs), atol=1e-5, rtol=1e-5)
    ours.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize("name", ["FeedForward", "FeedForwardFast"])
def test_feed_forward_equals_the_references(small, name):
    x = torch.randn(2, 4, 16)
    torch.testing.assert_close(
        seeded(getattr(ch04, name), small)(x), seeded(getattr(theirs_04, name), small)(x), atol=1e-6, rtol=1e-5
    )


def test_the_books_pth_files_load_with_their_masks(small, tmp_path):
    theirs = theirs_04.GPTModel(small)
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    ours = ch04.GPTModel(small)
    ours.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    torch.testing.assert_close(ours.eval()(IDS), theirs.eval()(IDS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["GPTModel", "GPTModelFast"])
@pytest.mark.parametrize("training", [False, True])
def test_generate_text_simple_equals_the_references_also_past_the_context(small, name, training):
    ours, theirs = (seeded(getattr(module, name), small).train(training) for module in (ch04, theirs_04))
    torch.manual_seed(7)
    found = ch04.generate_text_simple(model=ours, idx=IDS, max_new_tokens=40, context_size=32)
    torch.manual_seed(7)
    expected = theirs_04.generate_text_simple(model=theirs, idx=IDS, max_new_tokens=40, context_size=32)
    assert torch.equal(found, expected)
    assert ours.training is training


def test_generate_text_simple_with_a_context_smaller_than_the_models(small):
    ours, theirs = seeded(ch04.GPTModel, small).eval(), seeded(theirs_04.GPTModel, small).eval()
    found = ch04.generate_text_simple(ours, IDS, 12, context_size=3)
    assert torch.equal(found, theirs_04.generate_text_simple(theirs, IDS, 12, context_size=3))
    assert torch.equal(ch04.generate_text_simple(ours, IDS, 0, context_size=3), IDS)


def test_generate_text_simple_takes_any_callable():
    counting = lambda idx: torch.nn.functional.one_hot((idx + 1) % 10, 10).float()  # noqa: E731
    assert ch04.generate_text_simple(counting, torch.tensor([[3]]), 4, context_size=8).tolist() == [[3, 4, 5, 6, 7]]


def test_the_dummy_model_is_the_frame_of_the_real_one(small):
    torch.manual_seed(123)
    model = ch04.DummyGPTModel(small).eval()
    embedded = model.tok_emb(IDS) + model.pos_emb(torch.arange(4))
    torch.testing.assert_close(model(IDS), model.out_head(embedded))
    assert ch04.generate_text_simple(model, IDS, 3, context_size=32).shape == (2, 7)


def test_shortcuts_keep_the_gradients_of_deep_networks():
    def first_gradient(use_shortcut):
        network = seeded(ch04.ExampleDeepNeuralNetwork, [3, 3, 3, 3, 3, 1], use_shortcut)
        torch.nn.MSELoss()(network(torch.tensor([[1.0, 0.0, -1.0]])), torch.tensor([[0.0]])).backward()
        return network.layers[0][0].weight.grad.abs().mean().item()

    # The two figures are the book's (section 4.4).
    assert first_gradient(False) == pytest.approx(0.00020173587836325169, rel=1e-4)
    assert first_gradient(True) == pytest.approx(0.22169792652130127, rel=1e-4)


def test_the_fast_model_keeps_keys_and_values(small):
    model = seeded(ch04.GPTModelFast, {**small, "drop_rate": 0.0}).eval()
    cache = KVCache(model.config, 2, 8, torch.device("cpu"), torch.float32)
    pieces = [model(part, cache) for part in (IDS[:, :2], IDS[:, 2:3], IDS[:, 3:])]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(IDS), atol=1e-5, rtol=1e-5)
