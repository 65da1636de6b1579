"""Streaming: whole characters, and joined the text that decoding gives."""

from __future__ import annotations

import pytest
import torch

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation import Sampling, generate, stream
from gpt_from_scratch.generation.sampling import token_probabilities
from gpt_from_scratch.generation.stopping import text_of
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@pytest.fixture(scope="module")
def model() -> GPTModel:
    torch.manual_seed(1)
    return GPTModel(GPTConfig(vocab_size=1540, context_length=32, emb_dim=16, n_heads=2, n_layers=1)).eval()


def written(monkeypatch, model, tokenizer, tokens) -> list[str]:
    """The pieces that come out when the model writes these tokens."""
    steps = [(torch.tensor([token]), torch.zeros(1, 1540)) for token in tokens]
    monkeypatch.setattr(stream, "decode_steps", lambda *_, **__: iter(steps))
    return list(stream.stream_text(model, tokenizer, [1], len(tokens)))


def test_a_character_of_several_tokens_comes_whole(monkeypatch, model, tokenizer) -> None:
    tokens = tokenizer.encode("a 🎉 naïve 日本")
    assert any("�" in tokenizer.decode([token]) for token in tokens), "some token is a part of a character"
    pieces = written(monkeypatch, model, tokenizer, tokens)
    assert "".join(pieces) == "a 🎉 naïve 日本"
    assert len(pieces) < len(tokens)


def test_half_a_character_at_the_end_is_shown_as_such(monkeypatch, model, tokenizer) -> None:
    tokens = tokenizer.encode("a🎉")[:-1]
    assert "".join(written(monkeypatch, model, tokenizer, tokens)) == tokenizer.decode(tokens) == "a�"


def test_it_stops_where_the_text_ends(monkeypatch, model, tokenizer) -> None:
    tokens = [*tokenizer.encode("a b"), tokenizer.eot_token, *tokenizer.encode(" c")]
    assert "".join(written(monkeypatch, model, tokenizer, tokens)) == "a b"


def test_ids_of_a_padded_vocabulary(monkeypatch, model, tokenizer) -> None:
    assert "".join(written(monkeypatch, model, tokenizer, [1539, *tokenizer.encode("a")])) == "�a"
    assert text_of(tokenizer, [1539, *tokenizer.encode("a")]) == "�a"


def test_a_prompt_that_is_empty_or_too_long(model, tokenizer) -> None:
    with pytest.raises(InputError, match="at least one token"):
        next(stream.stream_text(model, tokenizer, [], 3))
    ids = torch.randint(0, 1500, (50,), generator=torch.Generator().manual_seed(2)).tolist()
    pieces = [list(stream.stream_text(model, tokenizer, prompt, 6)) for prompt in (ids, ids[-32:])]
    assert pieces[0] == pieces[1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tokens", [1, 8, 40])
def test_the_steps_are_what_generate_writes(model, tokenizer, seed: int, tokens: int) -> None:
    prompt = tokenizer.encode("Every effort moves you")
    sampling = Sampling(temperature=1.5, top_k=300, seed=seed)
    steps = list(stream.stream_steps(model, tokenizer, prompt, tokens, sampling))
    (new,) = generate(model, [prompt], tokens, sampling)
    assert [step.token for step in steps] == new
    assert "".join(step.text for step in steps) == text_of(tokenizer, new)
    assert [step.last for step in steps] == [False] * (tokens - 1) + [True]
    text, ids = "", list(prompt)
    for step in steps:
        with torch.no_grad():
            assert torch.allclose(step.logits, model(torch.tensor([ids[-32:]]))[0, -1], atol=1e-5)
        ids.append(step.token)
        text += step.text
        assert text_of(tokenizer, ids[len(prompt) :]).startswith(text)


def test_the_end_of_text_is_the_last_step(monkeypatch, model, tokenizer) -> None:
    tokens = [*tokenizer.encode("a"), tokenizer.eot_token, *tokenizer.encode("b")]
    steps = [(torch.tensor([token]), torch.zeros(1, 1540)) for token in tokens]
    monkeypatch.setattr(stream, "decode_steps", lambda *_, **__: iter(steps))
    found = list(stream.stream_steps(model, tokenizer, [1], 9))
    assert [(step.token, step.text, step.last) for step in found] == [
        (tokens[0], "a", False),
        (tokenizer.eot_token, "", True),
    ]


@pytest.mark.parametrize(("temperature", "top_k"), [(0.0, None), (0.0, 5), (0.7, None), (0.7, 5)])
def test_probabilities_of_the_next_token(temperature: float, top_k: int | None) -> None:
    logits = torch.randn(2, 30, generator=torch.Generator().manual_seed(1))
    found = token_probabilities(logits, Sampling(temperature, top_k))
    for row, shares in zip(logits, found, strict=True):
        powers = (row / (temperature or 1.0)).exp()
        if temperature and top_k:
            powers[row < row.sort(descending=True).values[top_k - 1]] = 0.0
        assert torch.allclose(shares, powers / powers.sum(), atol=1e-6)
