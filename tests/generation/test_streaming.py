"""A text that grows token by token is the text that is written at once."""

from __future__ import annotations

import pytest
import torch

from gpt_from_scratch.generation import generate, streaming
from gpt_from_scratch.generation.streaming import stream_text
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(1)
    return GPTModel(GPTConfig(tokenizer.n_vocab, 16, 16, 2, 2)).eval()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tokens", [1, 8, 40])
def test_it_is_what_generate_writes(model, tokenizer, seed: int, tokens: int) -> None:
    prompt = tokenizer.encode("Every effort moves you")
    sampling = {"temperature": 1.5, "top_k": 300}
    steps = list(
        stream_text(model, tokenizer, prompt, tokens, generator=torch.Generator().manual_seed(seed), **sampling)
    )
    (new,) = generate(model, [prompt], tokens, generator=torch.Generator().manual_seed(seed), **sampling)
    assert [step.token for step in steps] == new
    assert "".join(step.text for step in steps) == tokenizer.decode(new)


def test_the_probabilities_are_those_that_were_drawn_from(model, tokenizer) -> None:
    prompt = tokenizer.encode("Every effort moves you")
    greedy, drawn = (
        next(stream_text(model, tokenizer, prompt, 1, temperature=temperature, top_k=5)) for temperature in (0.0, 0.7)
    )
    with torch.no_grad():
        logits = model(torch.tensor([prompt]))[0, -1]
    assert torch.allclose(greedy.probabilities, logits.softmax(-1), atol=1e-6)
    kept = logits.topk(5).indices
    expected = torch.zeros_like(logits).index_put((kept,), (logits[kept] / 0.7).softmax(-1))
    assert torch.allclose(drawn.probabilities, expected, atol=1e-6)
    assert drawn.probabilities[drawn.token] > 0


def script(monkeypatch, tokens: list[int]) -> None:
    """Let the model write these tokens."""
    steps = [(torch.tensor([token]), torch.zeros(1, 1536)) for token in tokens]
    monkeypatch.setattr(streaming, "decode_steps", lambda model, prompts, count, **_: iter(steps[:count]))


def test_a_character_comes_when_it_is_whole(model, tokenizer, monkeypatch) -> None:
    ids = [tokenizer.encode_single_token(bytes([byte])) for byte in "é🙂!".encode()]
    script(monkeypatch, ids)
    texts = [step.text for step in stream_text(model, tokenizer, [1], 9)]
    assert texts == ["", "é", "", "", "", "🙂", "!"]
    cut = [step.text for step in stream_text(model, tokenizer, [1], 4)]
    assert cut == ["", "é", "", "�"]


def test_the_end_of_text_ends_it_and_is_not_shown(model, tokenizer, monkeypatch) -> None:
    a, b = tokenizer.encode("a")[0], tokenizer.encode("b")[0]
    script(monkeypatch, [a, tokenizer.eot_token, b])
    steps = list(stream_text(model, tokenizer, [1], 9))
    assert [(step.token, step.text) for step in steps] == [(a, "a"), (tokenizer.eot_token, "")]
