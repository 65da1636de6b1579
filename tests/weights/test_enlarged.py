"""Tokens of one's own in a pretrained model, beside transformers' way of adding them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.enlarged import add_tokens
from gpt_from_scratch.weights.huggingface import load_facts, load_model, save_model

TOKENS = ["<|user|>", "<|assistant|>"]
TEXT = "<|user|> Hello, world<|assistant|>Hi <|user|><|endoftext|>"


@pytest.fixture
def folder(root: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A model folder; the parameter: tied, and rows of padding behind the vocabulary."""
    tied, padding = getattr(request, "param", (True, 0))
    bpe = root / "data/sample/bpe"
    shape = {"context_length": 16, "emb_dim": 8, "n_heads": 2, "n_layers": 1, "drop_rate": 0.0, "qkv_bias": True}
    torch.manual_seed(1)
    model = GPTModel(GPTConfig(vocab_size=load_tokenizer(bpe).n_vocab + padding, tie_weights=tied, **shape))
    (tmp_path / "base").mkdir()
    save_model(model, tmp_path / "base", bpe, {"pretrained": "synthetic"})
    return tmp_path / "base"


@pytest.mark.parametrize("folder", [(True, 0), (False, 0), (True, 5)], indirect=True)
def test_ids_are_transformers_and_old_tokens_keep_their_logits(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    before, first = load_model(folder), load_tokenizer(folder).n_vocab
    theirs = AutoTokenizer.from_pretrained(folder)
    theirs.add_special_tokens({"additional_special_tokens": TOKENS})
    add_tokens(folder, TOKENS)
    after, tokenizer = load_model(folder), load_tokenizer(folder)
    ids = tokenizer.encode(TEXT, allowed_special="all")
    assert ids == theirs(TEXT)["input_ids"] == AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]
    assert {first, first + 1} <= set(ids) and tokenizer.decode(ids) == TEXT
    assert len(after.tok_emb.weight) == max(len(before.tok_emb.weight), first + 2)
    assert (after.out_head.weight is after.tok_emb.weight) is (before.out_head.weight is before.tok_emb.weight)
    old = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(after(old)[..., :first], before(old)[..., :first])
    mean = before.tok_emb.weight[:first].mean(0)
    torch.testing.assert_close(after.tok_emb.weight[first], mean)
    torch.testing.assert_close(after(old)[..., first], before(old)[..., :first].mean(-1))
    new = torch.tensor([ids])
    torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(folder)(new).logits, after(new))
    assert load_facts(folder) == {"pretrained": "synthetic"}


def test_more_are_added_behind_those_added_before(folder):
    add_tokens(folder, TOKENS)
    add_tokens(folder, ["<|tool|>"])
    assert load_tokenizer(folder).encode("<|tool|><|user|>") == [load_tokenizer(folder).n_vocab - 1 - n for n in (0, 2)]


def test_a_token_may_be_one_character(folder):
    add_tokens(folder, ["🙂"])
    assert load_tokenizer(folder).encode("a🙂")[1:] == [load_tokenizer(folder).n_vocab - 1]


@pytest.mark.parametrize("tokens", [["<|endoftext|>"], [" the"], ["a"], ["<|a|>", "<|a|>"]])
def test_a_token_that_is_there_already_is_refused(folder, tokens):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match="add_tokens: expected tokens that the tokenizer lacks, each once, found"):
        add_tokens(folder, tokens)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
