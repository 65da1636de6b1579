"""Streaming: whole characters, and joined the text that decoding gives."""

from __future__ import annotations

import pytest
import torch

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation import stream
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
    monkeypatch.setattr(stream, "decode", lambda *_, **__: (torch.tensor([token]) for token in tokens))
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
    assert stream.text_of(tokenizer, [1539, *tokenizer.encode("a")]) == "�a"


def test_a_prompt_that_is_empty_or_too_long(model, tokenizer) -> None:
    with pytest.raises(InputError, match="at least one token"):
        next(stream.stream_text(model, tokenizer, [], 3))
    ids = torch.randint(0, 1500, (50,), generator=torch.Generator().manual_seed(2)).tolist()
    pieces = [list(stream.stream_text(model, tokenizer, prompt, 6)) for prompt in (ids, ids[-32:])]
    assert pieces[0] == pieces[1]
