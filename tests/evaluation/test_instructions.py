"""Matches, the loss on responses, ROUGE-L against every subsequence, and entries that do not fit."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_from_scratch.data.instructions.entries import format_prompt, format_response
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.answers import answer_metrics, rouge_l, words
from gpt_from_scratch.evaluation.instructions import fitting_entries, response_metrics

ENTRIES = [
    {"instruction": "Name a bird.", "input": "", "output": "A wren."},
    {"instruction": "Turn this into a question.", "input": "It is raining.", "output": "Is it raining?"},
    {"instruction": "Sum.", "input": "1, 2", "output": "3"},
    {"instruction": "Say something kind, and mean it.", "input": "", "output": "Thing by thing, naïve café."},
    {"instruction": "Begin on a new line.", "input": "", "output": "\n so"},
]


def lcs_by_trying(first: list[str], second: list[str]) -> int:
    """The length of the longest list that both contain in order."""
    for length in range(min(len(first), len(second)), 0, -1):
        if set(combinations(first, length)) & set(combinations(second, length)):
            return length
    return 0


SHORT = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=7)


@settings(deadline=None)
@given(SHORT, SHORT)
def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence(reference, candidate):
    found = rouge_l(" ".join(reference), " ".join(candidate))
    common = lcs_by_trying(reference, candidate)
    if not reference or not candidate:
        assert found == float(reference == candidate)
    elif not common:
        assert found == 0
    else:
        precision, recall = common / len(candidate), common / len(reference)
        assert found == pytest.approx(2 * precision * recall / (precision + recall))
    assert found == rouge_l(" ".join(candidate), " ".join(reference))


def test_rouge_l_of_lins_own_example():
    """Lin 2004, section 3.1: the two candidates share as many words with the reference, but not in its order."""
    reference = "police killed the gunman"
    assert rouge_l(reference, "police kill the gunman") == pytest.approx(3 / 4)
    assert rouge_l(reference, "the gunman kill police") == pytest.approx(2 / 4)


def test_words_are_told_apart_without_case_and_signs():
    assert words("It's Über-fine: 3.5 kg!") == ["it", "s", "über", "fine", "3", "5", "kg"]
    assert words(" ?! ") == []


def test_matches_and_rouge_are_counted_over_the_entries():
    entries = [{"instruction": "", "input": "", "output": output} for output in (" Yes. ", "Four legs", "blue", "3")]
    found = answer_metrics(entries, ["Yes.", "four legs!", "it is blue", ""])
    assert found == {"entries": 4, "exact_match": 0.25, "loose_match": 0.5, "rouge_l": pytest.approx((1 + 1 + 0.5) / 4)}


def test_a_missing_answer_is_an_error():
    with pytest.raises(ValueError):
        answer_metrics(ENTRIES, ["one"])


def loss_by_hand(model, tokenizer, entries) -> float:
    losses = []
    for entry in entries:
        before = tokenizer.encode(format_prompt(entry) + "\n\n### Response:\n")
        ids = [*before, *tokenizer.encode(entry["output"]), tokenizer.eot_token]
        log_probabilities = model(torch.tensor([ids[:-1]]))[0].detach().double().log_softmax(-1)
        losses += [-log_probabilities[place - 1, ids[place]].item() for place in range(len(before), len(ids))]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_response_loss_is_that_of_the_answer_and_its_end(random_model, tokenizer, batch_size):
    model = random_model()
    expected = loss_by_hand(model, tokenizer, ENTRIES)
    assert response_metrics(model, tokenizer, ENTRIES, 256, batch_size)["response_loss"] == pytest.approx(
        expected, abs=1e-5
    )


@pytest.mark.parametrize("cut", [False, True])
def test_bits_per_byte_of_the_responses_are_of_what_the_loss_counts(random_model, tokenizer, cut):
    model = random_model()
    model.out_head.weight.data.zero_()  # all 258 tokens are as likely
    texts = [tokenizer.encode(format_prompt(entry) + format_response(entry)) for entry in ENTRIES]
    longest = max(map(len, texts)) - 3 if cut else 256
    starts = [len(tokenizer.encode(format_prompt(entry) + "\n\n### Response:\n")) for entry in ENTRIES]
    counted = [[*ids, tokenizer.eot_token][start : longest + 1] for ids, start in zip(texts, starts, strict=True)]
    answers = [tokenizer.decode_bytes(ids).removesuffix(b"<|endoftext|>") for ids in counted]
    assert cut == (answers != [entry["output"].encode() for entry in ENTRIES])
    bits = sum(map(len, counted)) * math.log2(258)
    found = response_metrics(model, tokenizer, ENTRIES, longest, 2)
    assert found["response_bits_per_byte"] == pytest.approx(bits / sum(map(len, answers)))


def test_the_response_loss_of_a_conversation_is_that_of_its_last_answer(random_model, tokenizer):
    model = random_model(context_length=512)
    talk = {**ENTRIES[2], "earlier_turns": [ENTRIES[0]]}
    first, last = (format_prompt(entry) + "\n\n### Response:\n" for entry in (ENTRIES[0], ENTRIES[2]))
    begin = [*tokenizer.encode(first + "A wren."), tokenizer.eot_token, *tokenizer.encode(last)]
    ids = [*begin, *tokenizer.encode("3"), tokenizer.eot_token]
    log_probabilities = model(torch.tensor([ids[:-1]]))[0].detach().log_softmax(-1)
    expected = -sum(log_probabilities[place - 1, ids[place]].item() for place in range(len(begin), len(ids))) / 2
    assert response_metrics(model, tokenizer, [talk], 512, 1)["response_loss"] == pytest.approx(expected, abs=1e-5)


def test_the_instruction_has_no_part_in_the_response_loss(random_model, tokenizer):
    """A model that knows nothing but the answer's letters has the loss of these letters."""
    model = random_model()
    model.out_head.weight.data.zero_()
    bias = torch.zeros(258)
    bias[[ord("3"), tokenizer.eot_token]] = 20.0
    model.out_head.bias = torch.nn.Parameter(bias)
    assert response_metrics(model, tokenizer, [ENTRIES[2]], 256, 1)["response_loss"] == pytest.approx(
        torch.tensor(2.0).log().item(), 1e-3
    )


def test_a_cut_response_counts_as_far_as_it_goes(random_model, tokenizer):
    model, entry = random_model(), ENTRIES[0]
    before = len(tokenizer.encode(format_prompt(entry) + "\n\n### Response:\n"))
    ids = tokenizer.encode(format_prompt(entry) + format_response(entry))[: before + 3]
    log_probabilities = model(torch.tensor([ids]))[0].detach().double().log_softmax(-1)
    expected = -sum(log_probabilities[place - 1, ids[place]].item() for place in range(before, before + 3)) / 3
    assert response_metrics(model, tokenizer, [entry], before + 2, 1)["response_loss"] == pytest.approx(
        expected, abs=1e-5
    )


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_entries_that_do_not_fit_are_named_and_the_others_kept(tokenizer, style):
    lengths = [len(tokenizer.encode(format_prompt(entry, style))) for entry in ENTRIES]
    by_length = sorted(lengths)
    kept, notes = fitting_entries(ENTRIES, tokenizer, style, by_length[2] + 8, 8)
    assert kept == [entry for entry, length in zip(ENTRIES, lengths, strict=True) if length <= by_length[2]]
    longest = lengths.index(by_length[-1])
    said = f"entry {longest + 1} of 5, {ENTRIES[longest]['instruction'][:40]!r}: prompt of {by_length[-1]} tokens, "
    assert [note for note in notes if note.startswith(said + f"limit {by_length[2]}")]
    assert len(notes) == 2
    assert fitting_entries(ENTRIES, tokenizer, style, by_length[-1] + 8, 8) == (ENTRIES, [])
    with pytest.raises(InputError, match=r"evaluate\.response_tokens: .* found 8, and \d+ or more in each"):
        fitting_entries(ENTRIES, tokenizer, style, by_length[0] + 7, 8)
