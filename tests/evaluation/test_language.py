"""Losses held against sums by hand, samples against decoding token by token."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import tiktoken
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.data.text.corpus import TokenWindows
from gpt_from_scratch.evaluation.figures import figure_text
from gpt_from_scratch.evaluation.language import language_metrics, mean_bytes, perplexity, samples, token_loss
from gpt_from_scratch.generation import Sampling


def by_hand(model, batches) -> list[float]:
    """The loss of every learnt target, one after the other."""
    losses = []
    for inputs, targets in batches:
        for row, expected in zip(inputs, targets, strict=True):
            log_probabilities = model(row[None])[0].detach().double().log_softmax(-1)
            losses += [
                -log_probabilities[place, target].item() for place, target in enumerate(expected) if target != -100
            ]
    return losses


@pytest.fixture
def uneven(random_model):
    """A model, and batches of unequal size in which some targets are ignored."""
    generator = torch.Generator().manual_seed(1)
    batches = []
    for rows, tokens in ((3, 12), (1, 5)):
        ids = torch.randint(0, 256, (rows, tokens + 1), generator=generator)
        targets = ids[:, 1:].clone()
        targets[0, -2:] = -100
        batches.append((ids[:, :-1], targets))
    return random_model(), batches


def test_every_token_weighs_the_same_however_the_batches_are_cut(uneven):
    model, batches = uneven
    losses = by_hand(model, batches)
    assert len(losses) == 37
    assert token_loss(model, batches) == pytest.approx(sum(losses) / 37, abs=1e-5)


def test_an_untrained_guess_is_as_good_as_one_among_all_tokens(random_model):
    model = random_model()
    model.out_head.weight.data.zero_()
    ids = torch.arange(20)[None]
    loss = token_loss(model, [(ids, ids)])
    assert loss == pytest.approx(math.log(258), abs=1e-5)
    assert perplexity(loss) == pytest.approx(258, rel=1e-4)
    assert math.isnan(perplexity(math.nan))
    assert figure_text(perplexity(1e9), "perplexity") == "1.01e+304"  # a training may diverge so far


def test_nothing_learnt_has_no_loss(random_model):
    ignored = torch.full((1, 3), -100)
    assert math.isnan(token_loss(random_model(), [(torch.ones(1, 3, dtype=torch.long), ignored)]))
    assert math.isnan(token_loss(random_model(), []))


def test_metrics_do_not_depend_on_the_batch_size(random_model):
    model, bytes_per_token = random_model(), {"train": 2.0, "validation": 4.0}
    ids = torch.randint(0, 256, (7, 9), generator=torch.Generator().manual_seed(2))
    data = TensorDataset(ids[:, :-1], ids[:, 1:])
    one, all_at_once = (
        language_metrics(model, dict.fromkeys(("train", "validation"), DataLoader(data, size)), bytes_per_token)
        for size in (1, len(data))
    )
    assert one == pytest.approx(all_at_once, rel=1e-5)
    assert one["train_loss"] == one["validation_loss"]
    assert one["train_bits_per_byte"] == 2 * one["validation_bits_per_byte"]
    assert one["validation_perplexity"] == math.exp(one["validation_loss"])


@settings(max_examples=20, deadline=None)
@given(text=st.text(min_size=2, max_size=60), context=st.integers(1, 5))
def test_bits_per_byte_count_the_bytes_of_predicted_tokens(random_model, tokenizer, text, context):
    """By hand: windows without overlap, of which all but the first token of the first are predicted."""
    ids = tokenizer.encode("a" + text + "ing")
    windows = TokenWindows(ids, min(context, len(ids) - 1), min(context, len(ids) - 1))
    predicted = [token for _, targets in windows for token in targets.tolist()]
    assert mean_bytes(tokenizer, DataLoader(windows, 2)) * len(predicted) == pytest.approx(
        len(tokenizer.decode_bytes(predicted))
    )
    loader = DataLoader(windows, 2)
    metrics = language_metrics(random_model(), {"train": loader}, {"train": mean_bytes(tokenizer, loader)})
    bits = metrics["train_loss"] * len(predicted) / math.log(2)
    assert metrics["train_bits_per_byte"] == pytest.approx(bits / len(tokenizer.decode_bytes(predicted)))


def test_a_special_token_has_no_bytes_and_ignored_targets_do_not_count(tokenizer):
    targets = torch.tensor([[256, tokenizer.eot_token, -100, 65]])  # `ing`, the end, ignored, `A`
    assert mean_bytes(tokenizer, [(targets, targets)]) == pytest.approx(4 / 3)
    assert math.isnan(mean_bytes(tokenizer, [(targets, targets[:, 1:3])]))
    kinds = {"pat_str": tokenizer._pat_str, "mergeable_ranks": tokenizer._mergeable_ranks}
    added = tiktoken.Encoding("added", **kinds, special_tokens={"<|endoftext|>": 257, "Zürich": 258})
    assert mean_bytes(added, [(targets, torch.tensor([[258, 257, 65]]))]) == pytest.approx(8 / 3)


def test_bits_per_byte_of_an_untrained_guess_do_not_depend_on_the_tokenizer(tokenizer):
    """A guess that gives every byte 1/256, whatever it calls a token."""
    text = "singing, bringing, thing " * 20
    merged, single = tokenizer.encode(text), list(text.encode())

    def bits(ids: list[int], nats_of: dict[int, float]) -> float:
        loss = sum(nats_of.get(token, math.log(256)) for token in ids[1:]) / len(ids[1:])
        batch = torch.tensor([ids])
        return loss / math.log(2) / mean_bytes(tokenizer, [(batch[:, :-1], batch[:, 1:])])

    assert bits(merged, {256: 3 * math.log(256)}) == pytest.approx(bits(single, {})) == pytest.approx(8)
    assert len(merged) < len(single)


def test_greedy_samples_take_the_likeliest_token_each_time(random_model, tokenizer):
    model = random_model()
    ids = tokenizer.encode("going on")
    for _ in range(6):
        ids.append(model(torch.tensor([ids]))[0, -1].argmax().item())
    assert tokenizer.eot_token not in ids
    greedy, _ = samples(model, tokenizer, ["going on"], 6, Sampling(1.4, 25, 123))
    assert greedy == {"prompt": "going on", "decoding": "greedy", "text": tokenizer.decode(ids)}


def test_samples_depend_on_their_seed_alone(random_model, tokenizer):
    model = random_model()

    def drawn(seed: int) -> list[str]:
        rows = samples(model, tokenizer, ["a", "b"], 12, Sampling(1.4, 25, seed))
        assert [(row["prompt"], row["decoding"]) for row in rows] == [
            (prompt, decoding) for prompt in "ab" for decoding in ("greedy", "sampled")
        ]
        return [row["text"] for row in rows if row["decoding"] == "sampled"]

    torch.manual_seed(1)
    first = drawn(123)
    state = torch.get_rng_state()
    assert drawn(123) == first  # although the global generator stands elsewhere
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn(124) != first


def test_one_token_to_choose_among_leaves_nothing_to_chance(random_model, tokenizer):
    greedy, sampled = samples(random_model(), tokenizer, ["going"], 10, Sampling(1.4, 1, 9))
    assert greedy["text"] == sampled["text"]


def test_a_special_token_in_a_prompt_is_plain_text(random_model, tokenizer):
    prompt = "<|endoftext|>"
    rows = samples(random_model(), tokenizer, [prompt], 2, Sampling(1.0, 5, 1))
    assert all(row["text"].startswith(prompt) for row in rows)


def test_the_random_sample_stops_at_a_stop_string_and_the_greedy_one_does_not(random_model, tokenizer):
    model, sampling = random_model(), Sampling(1.4, 25, 123, top_p=0.9, min_p=0.01, repetition_penalty=1.5)
    plain = samples(model, tokenizer, ["going"], 20, sampling)
    stop = plain[1]["text"][9:11]
    stopped = samples(model, tokenizer, ["going"], 20, replace(sampling, stop=(stop,)))
    new = plain[1]["text"].removeprefix("going")
    assert stopped == [plain[0], plain[1] | {"text": "going" + new[: new.index(stop)]}]
