"""Top-p, min-p and repetition penalty beside transformers' processors on the same logits, and in its `generate`."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopPLogitsWarper,
)

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation import Sampling, generate, generate_each
from gpt_from_scratch.generation.engine import decode_steps
from gpt_from_scratch.generation.rows import STEPS_BEFORE_STATIC
from gpt_from_scratch.generation.sampling import keep_min_p, keep_top_p, penalise_repetition, token_probabilities
from gpt_from_scratch.model import GPTModel

SETTINGS = settings(deadline=None, derandomize=True, max_examples=60)
SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)
PENALTIES = st.sampled_from([0.01, 0.5, 1.0, 1.3, 2.0, 100.0]) | st.floats(0.1, 10)
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11], [0, 0, 12]]


@st.composite
def logits(draw: st.DrawFn) -> Tensor:
    """`[batch, vocab_size]`; whole numbers from a small range, so that there are ties, and ids that cannot be drawn."""
    rows, size = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    values = st.integers(-3, 3) | st.floats(-50, 50, width=32) | st.just(-torch.inf)
    found = [draw(st.lists(values, min_size=size, max_size=size)) for _ in range(rows)]
    return torch.tensor([[1.0, *row] for row in found], dtype=torch.float)


@SETTINGS
@given(logits(), SHARES)
def test_top_p_and_min_p_keep_what_transformers_keep(logits, share) -> None:
    before = logits.clone()
    assert torch.equal(keep_top_p(logits, share), TopPLogitsWarper(share)(None, logits))
    assert torch.equal(keep_min_p(logits, share), MinPLogitsWarper(share)(None, logits))
    assert torch.equal(logits, before)


@SETTINGS
@given(logits(), PENALTIES, st.lists(st.integers(0, 12), min_size=1, max_size=9))
def test_the_repetition_penalty_is_transformers(logits, penalty, tokens) -> None:
    ids = torch.tensor([tokens] * len(logits)) % logits.shape[1]
    expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
    assert torch.equal(penalise_repetition(logits, ids, penalty), expected)


def test_deterministic_algorithms_keep_the_same() -> None:
    logits = torch.randn(3, 200, generator=torch.Generator().manual_seed(1))
    freely = keep_top_p(logits, 0.7)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(keep_top_p(logits, 0.7), freely)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def theirs() -> GPT2LMHeadModel:
    torch.manual_seed(3)
    config = GPT2Config(vocab_size=60, n_positions=32, n_embd=24, n_layer=2, n_head=3, initializer_range=0.4)
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def ours(theirs, root, tmp_path_factory) -> GPTModel:
    from gpt_from_scratch.weights.huggingface import load_model

    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return load_model(folder)


@SETTINGS
@given(
    seed=st.integers(0, 999),
    temperature=st.sampled_from([0.3, 1.0, 1.7]),
    top_k=st.none() | st.integers(1, 70),
    top_p=SHARES,
    min_p=SHARES,
    penalty=PENALTIES,
)
def test_combinations_are_those_of_transformers_in_its_order(theirs, seed, temperature, top_k, top_p, min_p, penalty):
    """Without ties: of equal logits the book's top-k, and ours, keeps exactly k."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 60, (3, 7), generator=random)
    logits = torch.stack([torch.randperm(60, generator=random) for _ in range(3)]) / 7 - 4
    limits = {"top_p": top_p, "min_p": min_p, "repetition_penalty": penalty}
    config = GenerationConfig(do_sample=True, temperature=temperature, top_k=top_k or 0, **limits)
    processors = theirs._get_logits_processor(config, input_ids_seq_length=7, device="cpu")
    expected = torch.softmax(processors(ids, logits), dim=-1)
    penalised = penalise_repetition(logits, ids, penalty)
    assume(top_k is None or all(len(row.unique()) == 60 for row in penalised))
    assert torch.equal(token_probabilities(penalised, Sampling(temperature, top_k, **limits)), expected)


@pytest.mark.parametrize("penalty", [0.7, 1.2, 5.0])
def test_greedy_decoding_with_a_penalty_is_that_of_transformers(ours, theirs, penalty) -> None:
    expected = []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        options = {"max_new_tokens": 16, "do_sample": False, "repetition_penalty": penalty, "eos_token_id": None}
        options |= {"attention_mask": torch.ones_like(ids), "pad_token_id": 0}
        expected.append(theirs.generate(ids, **options)[0, len(prompt) :].tolist())
    assert generate(ours, PROMPTS, 16, Sampling(repetition_penalty=penalty)) == expected
    assert expected != generate(ours, PROMPTS, 16)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("tokens", [8, 40])
def test_each_row_is_penalised_for_its_own_tokens_alone(ours, monkeypatch, use_cache, tokens, static) -> None:
    """Whatever its padding is, wherever it is moved, whichever rows end beside it, and past the context."""
    if static:
        monkeypatch.setitem(STEPS_BEFORE_STATIC, "cpu", 2)
    sampling = Sampling(repetition_penalty=1.5)
    prompts = [*PROMPTS, [13] * 9, [14, 15]]
    alone = [generate(ours, [prompt], tokens, sampling, use_cache=False)[0] for prompt in prompts]
    end = max(range(60), key=lambda token: sum(token in row for row in alone))
    expected = [row[: row.index(end)] if end in row else row for row in alone]
    found = generate_each(ours, prompts, tokens, sampling, eos_id=end, batch_size=2, use_cache=use_cache)
    assert sorted(found) == list(enumerate(expected))


def test_the_logits_of_a_step_are_those_that_it_was_chosen_from(ours) -> None:
    sampling = Sampling(1.0, seed=1, repetition_penalty=2.0)
    rows = [list(prompt) for prompt in PROMPTS]
    for chosen, logits in decode_steps(ours, PROMPTS, 5, sampling):
        for row, found, token in zip(rows, logits, chosen.tolist(), strict=True):
            with torch.no_grad():
                own = ours(torch.tensor([row]))[:, -1]
            assert torch.allclose(found, penalise_repetition(own, torch.tensor([row]), 2.0)[0], atol=1e-4)
            row.append(token)


@pytest.mark.parametrize("extreme", [0.01, 100.0])
def test_probabilities_stay_finite_at_the_limits(extreme) -> None:
    logits = torch.tensor([[1.0, -80.0, 90.0, 0.0, -torch.inf]])
    sampling = Sampling(1e-40, 3, 1, 0.0, 1.0, extreme)
    found = token_probabilities(penalise_repetition(logits, torch.arange(5)[None], extreme), sampling)
    assert found.isfinite().all() and found.sum() == 1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"top_p": 1.1}, "top_p: expected 0 to 1, found 1.1"),
        ({"top_p": float("nan")}, "top_p: expected 0 to 1, found nan"),
        ({"min_p": -0.1}, "min_p: expected 0 to 1, found -0.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty: expected 0.01 to 100.0, found 0.0"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty: expected 0.01 to 100.0, found inf"),
        ({"stop": ("a", "")}, "stop: expected Unicode texts of at least one character, found ''"),
        ({"stop": ("\ud83d",)}, "stop: expected Unicode texts of at least one character"),
    ],
)
def test_a_setting_out_of_range_is_refused_in_one_sentence(setting, said) -> None:
    with pytest.raises(InputError) as refused:
        Sampling(1.0, **setting)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)
