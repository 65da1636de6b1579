"""Decoding: with and without a cache, alone and in a batch, beside the reference's functions."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llms_from_scratch.ch04 import GPTModel as ReferenceModel
from llms_from_scratch.ch04 import generate_text_simple
from llms_from_scratch.ch05 import generate as reference_generate

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation import Sampling, decode, generate, generate_each, next_token
from gpt_from_scratch.generation.rows import STEPS_BEFORE_STATIC
from gpt_from_scratch.generation.sampling import keep_top_k
from gpt_from_scratch.model import GPTModel

CONTEXT = 16
CFG = {
    "vocab_size": 60,
    "context_length": CONTEXT,
    "emb_dim": 24,
    "n_heads": 3,
    "n_layers": 2,
    "drop_rate": 0.1,
    "qkv_bias": True,
}
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11]]


@pytest.fixture(scope="module")
def reference():
    torch.manual_seed(2)
    return ReferenceModel(CFG).eval()


@pytest.fixture(scope="module", params=["explicit", "fused"])
def model(request, reference):
    ours = GPTModel({**CFG, "kernels": request.param}).eval()
    ours.load_state_dict(reference.state_dict())
    return ours


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("tokens", [5, CONTEXT - 3, 3 * CONTEXT])
def test_equals_the_reference_also_past_the_context(model, reference, tokens, use_cache):
    for prompt, new in zip(PROMPTS, generate(model, PROMPTS, tokens, use_cache=use_cache), strict=True):
        expected = generate_text_simple(reference, torch.tensor([prompt]), tokens, CONTEXT)
        assert prompt + new == expected[0].tolist()
        assert generate(model, [prompt], tokens, use_cache=use_cache) == [new]


def test_drawn_tokens_equal_the_reference(model, reference):
    torch.manual_seed(7)
    expected = reference_generate(reference, torch.tensor([PROMPTS[0]]), 12, CONTEXT, temperature=1.3, top_k=7)
    torch.manual_seed(7)
    (found,) = generate(model, PROMPTS[:1], 12, Sampling(temperature=1.3, top_k=7))
    assert PROMPTS[0] + found == expected[0].tolist()


def test_a_prompt_longer_than_the_context(model, reference):
    prompt = [number % 60 for number in range(2 * CONTEXT)]
    expected = generate_text_simple(reference, torch.tensor([prompt]), 4, CONTEXT)
    assert prompt + generate(model, [prompt], 4)[0] == expected[0].tolist()


def test_stops_at_the_end_of_text_of_each_row(model):
    rows = generate(model, PROMPTS, 10)
    end = rows[1][3]
    stopped = generate(model, PROMPTS, 10, eos_id=end)
    assert stopped == [row[: row.index(end)] if end in row else row for row in rows]


def test_any_module_with_logits_can_decode_prompts_of_one_length(model, reference):
    assert generate(reference, PROMPTS[:1], 4, context_size=CONTEXT) == generate(model, PROMPTS[:1], 4)
    with pytest.raises(InputError, match="unequal length need a GPTModel"):
        generate(reference, PROMPTS, 4, context_size=CONTEXT)


def test_bad_prompts(model):
    for prompts in ([], [[1], []]):
        with pytest.raises(InputError, match="expected at least one token"):
            list(decode(model, prompts, 3))


def test_nothing_to_add(model):
    assert generate(model, PROMPTS, 0) == [[], [], []]


def test_leaves_no_trace_in_autograd(model):
    tokens = next(iter(decode(model, PROMPTS, 1)))
    assert not tokens.requires_grad
    assert not tokens.is_inference()


@given(
    logits=st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=12),
    top_k=st.integers(1, 12),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_top_k_never_yields_a_token_outside_the_k(logits, top_k, seed):
    row = torch.tensor([logits])
    kept = int(torch.isfinite(keep_top_k(row, top_k)).sum())
    assert kept == min(top_k, len(logits))
    token = next_token(row, Sampling(1.0, top_k, seed)).item()
    assert sum(value > logits[token] for value in logits) < top_k


def test_temperature_zero_is_greedy_whatever_top_k_says():
    logits = torch.tensor([[0.1, 3.0, 2.0], [5.0, 1.0, 0.0]])
    assert next_token(logits, Sampling(top_k=2)).tolist() == [1, 0]


def test_a_generator_makes_draws_repeatable():
    logits = torch.zeros(4, 50)
    draws = [next_token(logits, Sampling(1.0, seed=torch.Generator().manual_seed(3))).tolist() for _ in range(2)]
    assert draws[0] == draws[1] == next_token(logits, Sampling(1.0, seed=3)).tolist()
    started = Sampling(1.0, seed=3).started(logits.device)
    assert next_token(logits, started).tolist() == draws[0] != next_token(logits, started).tolist()


@pytest.fixture(params=["growing", "static"])
def shapes(request, monkeypatch):
    """Decoding as on the CPU, and with the static steps that a GPU records; recording itself needs one."""
    if request.param == "static":
        monkeypatch.setitem(STEPS_BEFORE_STATIC, "cpu", 2)


MORE_PROMPTS = [*PROMPTS, [12, 13], [14] * 9, [15, 16, 17, 18], [19]]


@pytest.fixture(scope="module")
def alone(model):
    """What each prompt gives by itself, by the number of tokens; drawn once for all the ways of drawing them."""
    return cache(lambda tokens: [generate(model, [prompt], tokens, use_cache=False)[0] for prompt in MORE_PROMPTS])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("tokens", [6, CONTEXT + 4])
@pytest.mark.usefixtures("shapes")
def test_prompts_that_take_the_places_of_those_that_ended(model, alone, tokens, use_cache, batch_size):
    """Every row is what it is alone, whichever rows end beside it, wherever it is moved, and past the context."""
    alone = alone(tokens)
    end = max(range(60), key=lambda token: sum(token in row for row in alone))
    expected = [row[: row.index(end)] if end in row else row for row in alone]
    assert len({len(row) for row in expected}) > 2  # or no row would end while others go on
    found = list(generate_each(model, MORE_PROMPTS, tokens, eos_id=end, batch_size=batch_size, use_cache=use_cache))
    assert sorted(found) == list(enumerate(expected))


def test_static_steps_are_used_and_see_the_whole_capacity(model, monkeypatch):
    monkeypatch.setitem(STEPS_BEFORE_STATIC, "cpu", 2)
    seen = []
    hidden_states = model.hidden_states

    def watching(ids, cache):
        visible = cache.layers[0].visible
        seen.append(None if visible is None else tuple(visible.shape))
        return hidden_states(ids, cache)

    monkeypatch.setattr(model, "hidden_states", watching)
    generate(model, PROMPTS[:1], 8)
    assert seen == [None, None, None, *[(1, 1, 1, len(PROMPTS[0]) + 7)] * 5]


def test_rows_that_ended_are_not_computed(model, monkeypatch):
    computed = []
    hidden_states = model.hidden_states

    def counting(ids, *args):
        computed.append(tuple(ids.shape))
        return hidden_states(ids, *args)

    alone = generate(model, PROMPTS, 6)
    end = alone[0][2]
    monkeypatch.setattr(model, "hidden_states", counting)
    rows = [new for _, new in sorted(generate_each(model, PROMPTS, 6, eos_id=end, batch_size=2))]
    # Each prompt is read once, and then one token of each row for each that it wrote before its last.
    steps = sum(min(len(row) + 1, 6) - 1 for row in rows)
    assert sum(rows for rows, _ in computed) == len(PROMPTS) + steps
    assert computed[0] == (2, 7)


def test_only_the_last_place_reaches_the_output_head(model, monkeypatch):
    shapes = []
    head = model.out_head.register_forward_pre_hook(lambda module, inputs: shapes.append(tuple(inputs[0].shape)))
    generate(model, PROMPTS, 3)
    head.remove()
    assert shapes == [(3, 24)] * 3


def test_draws_are_repeatable_with_prompts_that_wait(model):
    drawn = [
        list(generate_each(model, PROMPTS * 3, 8, Sampling(temperature=2.0, seed=seed), eos_id=5, batch_size=2))
        for seed in (3, 3, 4)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
