"""Continuing a text, and prompts longer than the model's context."""

from __future__ import annotations

import pytest
import torch

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation.text import check_room, continue_text
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(1)
    return GPTModel(GPTConfig(tokenizer.n_vocab, 8, 8, 2, 1)).eval()


@pytest.mark.parametrize(("tokens", "fits"), [(1, True), (8, True), (9, False), (30, False)])
def test_a_prompt_beyond_the_models_context_is_refused(model, tokenizer, tokens, fits):
    ids = tokenizer.encode("x y" * tokens)[:tokens]
    prompt = tokenizer.decode(ids)
    assert tokenizer.encode(prompt) == ids
    if fits:  # the text may grow past it
        assert continue_text(model, tokenizer, prompt, 12).startswith(prompt)
        return
    said = f"prompt: expected at most 8 tokens, the model's context, found {tokens} and 3 to generate; shorten it"
    with pytest.raises(InputError, match=said):
        continue_text(model, tokenizer, prompt, 3)


def test_an_answer_has_to_fit_too():
    check_room([1] * 5, 3, 8, answer=True)
    with pytest.raises(InputError, match=r"at most 8 tokens with the answer, .* found 5 and 4 to generate; do this"):
        check_room([1] * 5, 4, 8, answer=True, cure="do this")
