"""Small models in which every number is different, biases and norms included, so that no mix-up stays hidden."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe

TEXT = "The keeper of the light kept the keys; he keeps them still, they say. Bananas, bandanas, naïve cafés.\n" * 3


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory) -> Path:
    """A folder with a tokenizer of 300 tokens."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_bpe(*train_bpe(TEXT, 300), folder)
    return folder


@pytest.fixture(scope="session")
def random_model() -> Callable[..., GPTModel]:
    """Makes a model of 300 tokens whose parameters are all random; fields of `GPTConfig` change its shape."""

    def make(**changes: object) -> GPTModel:
        shape = {"vocab_size": 300, "context_length": 16, "emb_dim": 32, "n_heads": 4, "n_layers": 2}
        switches = {"drop_rate": 0.0, "qkv_bias": True, "tie_weights": True}
        model = GPTModel(GPTConfig(**{**shape, **switches, **changes}))
        generator = torch.Generator().manual_seed(7)
        for parameter in model.parameters():
            spread = 1.0 if parameter.ndim == 1 else 2.0 / parameter.shape[-1] ** 0.5
            parameter.data.normal_(0.0, spread, generator=generator)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def ids() -> torch.Tensor:
    """Token ids `[2, 12]` of the small models."""
    return torch.randint(0, 300, (2, 12), generator=torch.Generator().manual_seed(3))
