"""Stop strings: never shown, not even in part, and the same text streamed, in batches and for answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation import Ending, Sampling, engine, generate_each, stream
from gpt_from_scratch.generation.answering import answers, stream_answer
from gpt_from_scratch.generation.stopping import StopFilter, text_of, until_stop
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer

WORDS = st.text("ab\n", min_size=1, max_size=4)


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@pytest.fixture(scope="module")
def model() -> GPTModel:
    torch.manual_seed(1)
    return GPTModel(GPTConfig(vocab_size=1540, context_length=64, emb_dim=16, n_heads=2, n_layers=1)).eval()


def cut(text: str, stop: tuple[str, ...]) -> str:
    return text[: min((text.find(word) for word in stop if word in text), default=len(text))]


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(st.text("ab\n", max_size=4), max_size=8), st.lists(WORDS, max_size=3))
def test_what_was_shown_is_a_beginning_of_the_result_at_every_moment(pieces, stop) -> None:
    shown, came, filter_ = "", "", StopFilter(stop)
    for piece in pieces:
        came += piece
        shown += filter_.feed(piece)
        assert cut(came, stop).startswith(shown)
        undecided = cut(came, stop)[len(shown) :]
        assert filter_.found == any(word in came for word in stop)
        assert undecided == "" or any(word.startswith(undecided) for word in stop), "nothing else is held back"
        if filter_.found:
            break
    shown += filter_.feed("", last=True)
    assert shown == cut(came, stop) == "".join(until_stop(pieces, stop))


def test_nothing_is_asked_for_behind_a_stop_string() -> None:
    def pieces():
        yield from ("a", "b")
        raise AssertionError("asked for more")

    assert list(until_stop(pieces(), ("b",))) == ["a"]


def test_without_stop_strings_every_piece_passes_at_once() -> None:
    assert list(until_stop(iter(["a", "b\n", "c"]), ())) == ["a", "b\n", "c"]


@pytest.mark.parametrize(
    "stop", [("lamp",), ("amp, a",), ("🎉",), ("zzz", "the l", " of"), ("\n",), ("nothing like it",)]
)
def test_a_stop_string_within_and_across_tokens(monkeypatch, model, tokenizer, stop) -> None:
    text = "Light the lamp, and 🎉 it\nis of the lamp"
    tokens = tokenizer.encode(text)
    steps = [(torch.tensor([token]), torch.zeros(1, 1540)) for token in tokens]
    monkeypatch.setattr(stream, "decode_steps", lambda *_, **__: iter(steps))
    found = list(stream.stream_steps(model, tokenizer, [1], 99, Sampling(stop=stop)))
    shown = ""
    for step in found:
        shown += step.text
        assert cut(text, stop).startswith(shown)
    if any(word in text for word in stop):
        assert shown == cut(text, stop)
        assert [step.last for step in found] == [False] * (len(found) - 1) + [True]
        before = text_of(tokenizer, tokens[: len(found) - 1])
        assert not any(word in before for word in stop), "it ends with the token that completes the stop string"

    # The engine with a model that writes these tokens, two rows at a time.
    ending, ready = Ending(tokenizer, stop), iter(tokens * 2)
    monkeypatch.setattr(engine, "next_token", lambda logits, _: torch.tensor([next(ready)]))
    ((_, new),) = generate_each(model, [[1]], len(tokens), eos_id=ending)
    assert ending.text_of(new) == cut(text, stop)
    if any(word in text for word in stop):
        assert new == tokens[: len(found)]


@pytest.mark.parametrize("batch_size", [1, 2, 9])
def test_streams_and_batches_stop_at_the_same_place(model, tokenizer, batch_size) -> None:
    """A tiny model's own tokens; each row ends by itself, at the first of several stop strings."""
    prompts = [tokenizer.encode(text) for text in ("The light", "A cat", "Every effort moves you", "the")]
    plain = ["".join(stream.stream_text(model, tokenizer, ids, 20)) for ids in prompts]
    stop = (plain[0][7:10], plain[1][5:6], plain[2][20:24])
    sampling = Sampling(stop=stop)
    streamed = ["".join(stream.stream_text(model, tokenizer, ids, 20, sampling)) for ids in prompts]
    assert streamed == [cut(text, stop) for text in plain]
    assert streamed[:3] != plain[:3]
    ending = Ending(tokenizer, stop)
    rows = sorted(generate_each(model, prompts, 20, sampling, eos_id=ending, batch_size=batch_size))
    assert [ending.text_of(new) for _, new in rows] == streamed
    assert min(len(new) for _, new in rows) < 20, "a row that has stopped is computed no longer"


def test_stop_strings_without_a_tokenizer_are_refused(model) -> None:
    with pytest.raises(InputError, match="stop: token ids alone have no text"):
        list(generate_each(model, [[1]], 3, Sampling(stop=("a",)), eos_id=5))


def test_the_prompt_does_not_stop_a_text(model, tokenizer) -> None:
    ids = tokenizer.encode("The lamp")
    plain = list(stream.stream_text(model, tokenizer, ids, 5))
    assert "lamp" not in "".join(plain)
    assert list(stream.stream_text(model, tokenizer, ids, 5, Sampling(stop=("lamp",)))) == plain


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_an_answer_stops_behind_its_header_which_has_line_ends(taught, entries, style) -> None:
    from gpt_from_scratch.weights.huggingface import load_model

    folder = taught[style] / "models/instruct"
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    for entry, whole in zip(entries[:4], answers(model, tokenizer, entries[:4], 24, 4, style=style), strict=True):
        for stop in (("\n", "###"), (whole[3:6],), (whole[-1],)):
            sampling = replace(Sampling(), stop=stop)
            pieces = list(stream_answer(model, tokenizer, entry, 24, style, sampling))
            assert "".join(pieces) == cut(whole, stop)
