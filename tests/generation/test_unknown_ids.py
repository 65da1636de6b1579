"""A vocabulary that is larger than the tokenizer's: ids without a token are never chosen."""

from __future__ import annotations

import json

import pytest
import torch

from gpt_from_scratch.generation import Sampling, generate
from gpt_from_scratch.generation.stream import stream_text
from gpt_from_scratch.generation.text import continue_text
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.huggingface import load_model, save_model
from gpt_from_scratch.weights.start import starting_model

TOKENS, PADDED = 1536, 1600


@pytest.fixture
def folder(root, tmp_path):
    """A model that by itself would choose nothing but ids without a token."""
    torch.manual_seed(1)
    model = GPTModel(GPTConfig(PADDED, context_length=16, emb_dim=16, n_heads=2, n_layers=1))
    with torch.no_grad():
        model.final_norm.shift[:] = 5.0
        model.out_head.weight[TOKENS:] = 1.0
    save_model(model, tmp_path, root / "data/sample/bpe", {})
    return tmp_path


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, None, 1), Sampling(1.4, 25, 1), Sampling(5.0, 1599, 1)])
@pytest.mark.parametrize("cached", [True, False])
def test_every_id_has_a_token(folder, sampling, cached):
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    assert list(model.unknown_ids) == list(range(TOKENS, PADDED))
    rows = generate(model, [[1, 2, 3], [4]], 30, sampling, use_cache=cached) if not cached else None
    rows = rows or generate(model, [[1, 2, 3], [4]], 30, sampling)
    assert all(number < TOKENS for row in rows for number in row)
    assert "\ufffd" not in "".join(stream_text(model, tokenizer, [1], 0, sampling))
    tokenizer.decode(rows[0])


def test_a_hole_between_added_tokens_too(folder):
    (folder / "added_tokens.json").write_text(json.dumps({"<a>": TOKENS, "<b>": TOKENS + 5}))
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    assert TOKENS + 1 in model.unknown_ids
    assert {TOKENS, TOKENS + 5}.isdisjoint(model.unknown_ids)
    (row,) = generate(model, [[1]], 20)
    assert set(row) <= {TOKENS, TOKENS + 5}
    assert set(tokenizer.decode(row)) <= set("<ab>")


@pytest.mark.parametrize("weights", ["base", "random"])
def test_a_training_that_starts_from_it_can_write_its_samples(folder, weights):
    model, _ = starting_model(folder, weights, 0.0, "explicit")
    assert continue_text(model.eval(), load_tokenizer(folder), "a", 30).startswith("a")


def test_a_vocabulary_of_the_tokenizers_size_has_none(root, tmp_path):
    model = GPTModel(GPTConfig(TOKENS, context_length=16, emb_dim=16, n_heads=2, n_layers=1))
    save_model(model, tmp_path, root / "data/sample/bpe", {})
    assert list(load_model(tmp_path).unknown_ids) == []
