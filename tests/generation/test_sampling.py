"""Choosing a token: what holds for any logits, ties and single tokens included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation import Sampling, next_token
from gpt_from_scratch.generation.sampling import keep_top_k, token_probabilities

SETTINGS = settings(deadline=None, derandomize=True, max_examples=40)
SEEDS = st.integers(0, 999)


@st.composite
def logits(draw: st.DrawFn) -> Tensor:
    """`[batch, vocab_size]`; whole numbers from a small range, so that there are ties."""
    rows, size = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    values = st.integers(-3, 3) | st.floats(-50, 50, width=32)
    return torch.tensor([draw(st.lists(values, min_size=size, max_size=size)) for _ in range(rows)], dtype=torch.float)


@SETTINGS
@given(logits(), st.none() | st.integers(1, 15))
def test_temperature_zero_takes_the_most_likely(logits, top_k) -> None:
    chosen = next_token(logits, Sampling(top_k=top_k))
    assert torch.equal(chosen, logits.argmax(dim=-1))
    assert torch.equal(logits.gather(1, chosen[:, None]).squeeze(1), logits.amax(dim=-1))


@SETTINGS
@given(logits(), st.integers(1, 15))
def test_exactly_k_are_kept_and_none_above_them_is_lost(logits, top_k) -> None:
    before = logits.clone()
    kept = keep_top_k(logits, top_k)
    assert torch.equal(logits, before)
    for row, survivors in zip(logits, kept.isfinite(), strict=True):
        assert survivors.sum() == min(top_k, len(row))
        if not survivors.all():
            assert row[survivors].min() >= row[~survivors].max()
    assert torch.equal(kept[kept.isfinite()], logits[kept.isfinite()])


@SETTINGS
@given(logits(), st.integers(1, 15), st.floats(0.05, 20), SEEDS)
def test_no_token_outside_the_k_is_drawn(logits, top_k, temperature, seed) -> None:
    kept = keep_top_k(logits, top_k).isfinite()
    sampling = Sampling(temperature, top_k, seed).started(logits.device)
    for _ in range(5):
        chosen = next_token(logits, sampling)
        assert kept.gather(1, chosen[:, None]).all()


@SETTINGS
@given(logits(), st.floats(0.05, 20), SEEDS)
def test_k_of_one_is_greedy_and_k_of_all_is_none(logits, temperature, seed) -> None:
    best = next_token(logits, Sampling(temperature, 1, seed))
    assert torch.equal(logits.gather(1, best[:, None]).squeeze(1), logits.amax(dim=-1))
    all_of_them, freely = (next_token(logits, Sampling(temperature, top_k, seed)) for top_k in (logits.shape[1], None))
    assert torch.equal(all_of_them, freely)


@SETTINGS
@given(logits(), st.integers(0, 11), SEEDS)
def test_what_is_impossible_is_not_drawn(logits, token, seed) -> None:
    if logits.shape[1] == 1:
        return
    token %= logits.shape[1]
    logits[:, token] = -torch.inf
    assert (next_token(logits, Sampling(1.0, seed=seed)) != token).all()
    assert (next_token(logits) != token).all()


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), -float("inf"), -0.1])
def test_a_temperature_that_is_no_finite_number_from_0_on_is_refused(temperature):
    with pytest.raises(InputError, match="temperature: expected a finite number from 0 on, found"):
        Sampling(temperature)


@pytest.mark.parametrize("top_k", [0, -1])
def test_a_top_k_below_1_is_refused(top_k):
    with pytest.raises(InputError, match="top_k: expected at least 1, found"):
        Sampling(1.0, top_k)


@pytest.mark.parametrize("temperature", [1e-300, 1e-40, 1e-20, 1e-5, 1e38, 1e300])
@pytest.mark.parametrize("top_k", [None, 3])
def test_probabilities_are_finite_at_every_temperature(temperature, top_k):
    logits = torch.tensor([[1.0, 3.0, -80.0, 2.9, 90.0], [0.0, 0.0, 0.0, 0.0, -1.0]])
    found = token_probabilities(logits, Sampling(temperature, top_k, 1))
    assert torch.allclose(found.sum(-1), torch.ones(2))
    if temperature < 1:
        assert found[0].tolist() == [0, 0, 0, 0, 1]
        assert found[1].tolist() == pytest.approx([0.25] * 4 + [0] if top_k is None else found[1].tolist())
    next_token(logits, Sampling(temperature, top_k, 1))
