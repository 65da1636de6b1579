"""A byte tokenizer and small random models that know its tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tiktoken
import torch

from gpt_from_scratch.model import GPTConfig, GPTModel


@pytest.fixture(scope="session")
def tokenizer() -> tiktoken.Encoding:
    """One token per byte, one for `ing`, and the end of text, 257."""
    ranks = {bytes([number]): number for number in range(256)}
    return tiktoken.Encoding(
        "bytes",
        pat_str=r"ing|[\s\S]",
        mergeable_ranks={**ranks, b"ing": 256},
        special_tokens={"<|endoftext|>": 257},
    )


@pytest.fixture(scope="session")
def random_model() -> Callable[..., GPTModel]:
    """Makes a model of the tokenizer's 258 tokens; fields of `GPTConfig` change its shape."""

    def make(**changes: object) -> GPTModel:
        shape = {"vocab_size": 258, "context_length": 256, "emb_dim": 16, "n_heads": 2, "n_layers": 2, "drop_rate": 0.0}
        torch.manual_seed(5)
        return GPTModel(GPTConfig(**{**shape, **changes})).eval()

    return make
