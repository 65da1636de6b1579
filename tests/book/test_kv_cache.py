"""The companion's GPT with a cache: what it should give is what the model gives without one."""

from __future__ import annotations

import pytest
import torch

from gpt_from_scratch.book import ch04
from gpt_from_scratch.book.kv_cache import generate, gpt2
from gpt_from_scratch.errors import InputError

pytest.importorskip("llms_from_scratch")
from llms_from_scratch.kv_cache import gpt2 as theirs
from llms_from_scratch.kv_cache.utils import KVCache as TheirKVCache

IDS = torch.tensor([[15, 11, 31, 71, 6], [61, 36, 200, 34, 9]])


@pytest.fixture
def model(small):
    torch.manual_seed(123)
    return gpt2.GPTModel(small).eval()


@pytest.fixture
def plain(small):
    torch.manual_seed(123)
    return ch04.GPTModel(small).eval()


def test_weights_keys_and_logits_are_the_ordinary_models(model, plain, small):
    assert list(model.state_dict()) == list(theirs.GPTModel(small).state_dict())
    torch.testing.assert_close(model(IDS), plain(IDS))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("pieces", [[5], [1, 1, 1, 1, 1], [2, 3], [3, 1, 1]])
def test_tokens_given_piece_by_piece(model, plain, own, pieces):
    passed = {"use_cache": True} if own else {"cache": gpt2.KVCache(n_layers=2)}
    logits = torch.cat([model(part, **passed) for part in IDS.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(logits, plain(IDS), atol=1e-5, rtol=1e-5)
    assert model.current_pos == 5
    model.reset_kv_cache()
    assert model.current_pos == 0


def test_without_a_cache_every_call_begins_anew(model, plain):
    model(IDS, use_cache=True)
    torch.testing.assert_close(model(IDS), plain(IDS))


def test_a_full_context_is_an_error_not_a_wrong_position(model):
    with pytest.raises(InputError, match="33 tokens"):
        for _ in range(33):
            model(IDS[:, :1], use_cache=True)


@pytest.mark.parametrize("name", ["MultiHeadAttention", "TransformerBlock"])
def test_layers_give_keys_and_values_back_as_the_references_do(small, name):
    layers = []
    for module in (gpt2, theirs):
        torch.manual_seed(123)
        arguments = (16, 16, 32, 0.1, 2) if name == "MultiHeadAttention" else (small,)
        layers.append(getattr(module, name)(*arguments).eval())
    x = torch.rand(2, 5, 16)
    for arguments in ({}, {"use_cache": True}):
        torch.testing.assert_close(*(layer(x, **arguments) for layer in layers))
    # From here on the reference fails: its mask does not fit queries that follow cached keys.
    ours = layers[0]
    whole, pair = ours(x, use_cache=True)
    first, earlier = ours(x[:, :4], use_cache=True)
    second, grown = ours(x[:, 4:], start_pos=4, cache=earlier)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(grown, pair)


def test_the_cache_has_the_references_interface():
    for cache in (gpt2.KVCache(n_layers=3), TheirKVCache(n_layers=3)):
        assert cache.get(1) is None
        cache.update(1, "pair")
        assert cache.get(1) == "pair"
        assert cache.get_all() == [None, "pair", None]
        cache.reset()
        assert cache.get_all() == [None, None, None]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(("new", "context_size"), [(10, None), (40, None), (12, 4), (0, None)])
def test_generation_equals_that_without_a_cache(model, plain, new, context_size, use_cache):
    expected = ch04.generate_text_simple(plain, IDS, new, context_size or 32)
    model.train()
    found = generate.generate_text_simple(model, IDS, new, context_size=context_size, use_cache=use_cache)
    assert torch.equal(found, expected)
    assert not model.training


def test_a_prompt_longer_than_the_context_is_seen_by_its_end(model, plain):
    prompt = torch.arange(50)[None]
    assert torch.equal(generate.generate_text_simple(model, prompt, 5), ch04.generate_text_simple(plain, prompt, 5, 32))


def test_the_stream_gives_the_same_tokens_one_by_one(model):
    tokens = list(generate.generate_text_simple_stream(model, IDS, 40))
    assert all(token.shape == (2, 1) for token in tokens)
    assert torch.equal(torch.cat([IDS, *tokens], dim=1), generate.generate_text_simple(model, IDS, 40))


def test_the_stream_ends_when_all_rows_have_ended(model):
    free = torch.cat(list(generate.generate_text_simple_stream(model, IDS, 40)), dim=1)
    end = free[0, 3].item()
    first = [row.index(end) if end in row else 40 for row in free.tolist()]
    rows = torch.cat(list(generate.generate_text_simple_stream(model, IDS, 40, eos_token_id=end)), dim=1).tolist()
    longest = min(max(first), 40)
    for row, expected, stop in zip(rows, free.tolist(), first, strict=True):
        assert row == expected[:stop] + [end] * (longest - stop)
    alone = list(generate.generate_text_simple_stream(model, IDS[:1], 40, eos_token_id=end))
    assert [token.item() for token in alone] == free[0, : first[0]].tolist()


def test_room_for_the_answer():
    prompt = torch.arange(10)[None]
    assert generate.trim_input_tensor(prompt, context_len=8, max_new_tokens=3).tolist() == [[5, 6, 7, 8, 9]]
    assert torch.equal(generate.trim_input_tensor(prompt, context_len=80, max_new_tokens=3), prompt)
    with pytest.raises(AssertionError):
        generate.trim_input_tensor(prompt, context_len=8, max_new_tokens=8)
