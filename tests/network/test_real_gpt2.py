"""GPT-2 with OpenAI's own weights: needs their host, or a mirror that holds the checkpoint. `make test-network`."""

from __future__ import annotations

import os

import pytest

from gpt_from_scratch.data.fetch.download import Downloads
from gpt_from_scratch.data.raw.sources import gpt2_checkpoint
from gpt_from_scratch.generation import generate
from gpt_from_scratch.generation.text import continue_text
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.openai import read_checkpoint

pytestmark = [pytest.mark.network, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def folder(root):
    kept = root / ".cache/downloads"
    return Downloads(kept, os.environ.get("GPT_MIRROR")).fetch_all(gpt2_checkpoint("124M"), kept / "124M-openai")


@pytest.fixture(scope="module")
def model(folder):
    return read_checkpoint(folder)


def test_continues_as_the_book_prints(model, folder):
    text = continue_text(model, load_tokenizer(folder), "Every effort moves you", 15)
    assert text.startswith(
        "Every effort moves you forward.\nThe first step is to understand the importance of your work"
    )


def test_continues_as_the_transformers_library_pins(model):
    expected = [373, 1043, 287, 257, 2214, 1474, 262, 16246, 286, 2688, 290, 2688, 27262, 13, 198, 198, 464, 3290]
    assert generate(model, [[464, 3290]], len(expected)) == [expected]
