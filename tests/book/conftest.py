"""What the chapters' tests share: GPT-2's tokenizer, small models, and the book's package as the reference."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from tiktoken import Encoding

from gpt_from_scratch.tokenizer.bpe import load_tokenizer


@pytest.fixture(autouse=True)
def _one_thread(_two_threads: None) -> None:
    # On models this small a second thread mostly waits.
    torch.set_num_threads(1)


@pytest.fixture
def small() -> dict[str, Any]:
    """A model of the book's kind that reads bytes and trains in a second, dropout on."""
    return {
        "vocab_size": 256,
        "context_length": 32,
        "emb_dim": 16,
        "n_heads": 2,
        "n_layers": 2,
        "drop_rate": 0.1,
        "qkv_bias": False,
    }


class Bytes:
    """A tokenizer whose tokens are bytes, used as tiktoken's are."""

    def encode(self, text: str, **_: object) -> list[int]:
        return list(text.encode())

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode("latin-1")


@pytest.fixture
def byte_tokenizer() -> Bytes:
    """For the small models."""
    return Bytes()


@pytest.fixture(scope="session")
def tokenizer(mirror: Path) -> Encoding:
    """GPT-2's own tokenizer."""
    return load_tokenizer(mirror / "gpt2/124M")


@pytest.fixture
def verdict(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Verdict, with GPT-2's tokenizer where functions that are handed none look for it."""
    monkeypatch.setenv("GPT_MIRROR", str(mirror))
    return (mirror / "the-verdict.txt").read_text(encoding="utf-8")
