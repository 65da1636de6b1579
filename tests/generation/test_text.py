"""Continuing a text, and prompts longer than the model's context."""

from __future__ import annotations

import pytest
import torch

from gpt_from_scratch.generation.text import continue_text, is_cut
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(1)
    return GPTModel(GPTConfig(tokenizer.n_vocab, 8, 8, 2, 1)).eval()


@pytest.mark.parametrize(("tokens", "cut"), [(1, False), (8, False), (9, True), (30, True)])
def test_a_prompt_is_cut_beyond_the_models_context(model, tokenizer, tokens, cut):
    ids = tokenizer.encode("x y" * tokens)[:tokens]
    prompt = tokenizer.decode(ids)
    assert tokenizer.encode(prompt) == ids
    assert is_cut(model, tokenizer, prompt) is cut
    text = continue_text(model, tokenizer, prompt, 3)
    assert text.startswith(prompt)
    if cut:
        kept = tokenizer.decode(ids[-8:])
        assert text.removeprefix(prompt) == continue_text(model, tokenizer, kept, 3).removeprefix(kept)
