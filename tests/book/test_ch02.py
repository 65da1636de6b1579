"""Chapter 2: windows and loaders, next to the reference's."""

from __future__ import annotations

import pytest
import torch

from gpt_from_scratch.book.ch02 import GPTDatasetV1, create_dataloader_v1
from gpt_from_scratch.errors import InputError

reference = pytest.importorskip("llms_from_scratch.ch02")


@pytest.mark.parametrize(("max_length", "stride"), [(4, 1), (4, 4), (256, 128), (7, 9)])
def test_windows_equal_the_references(verdict, tokenizer, max_length, stride):
    text = verdict[:3000] + "<|endoftext|>" + verdict[3000:4000]
    ours = GPTDatasetV1(text, tokenizer, max_length, stride)
    theirs = reference.GPTDatasetV1(text, tokenizer, max_length, stride)
    assert len(ours) == len(theirs) > 0
    assert all(map(torch.equal, ours.input_ids, theirs.input_ids))
    assert all(map(torch.equal, ours.target_ids, theirs.target_ids))
    assert torch.equal(ours[1][0], theirs[1][0])


@pytest.mark.parametrize("text", ["", "Every", "one two three four"])
def test_a_text_shorter_than_one_window_gives_an_empty_set(tokenizer, text):
    assert len(GPTDatasetV1(text, tokenizer, 4, 1)) == 0


def test_loader_gives_the_references_batches_under_one_seed(verdict, tokenizer):
    torch.manual_seed(123)
    ours = list(create_dataloader_v1(verdict, batch_size=8, max_length=64, stride=32))
    torch.manual_seed(123)
    theirs_set = reference.GPTDatasetV1(verdict, tokenizer, 64, 32)
    theirs = list(torch.utils.data.DataLoader(theirs_set, batch_size=8, shuffle=True, drop_last=True))
    assert len(ours) == len(theirs)
    assert all(torch.equal(a, b) for left, right in zip(ours, theirs, strict=True) for a, b in zip(left, right))  # noqa: B905


def test_the_books_first_batch(verdict):
    loader = create_dataloader_v1(verdict, batch_size=1, max_length=4, stride=1, shuffle=False)
    inputs, targets = next(iter(loader))
    assert inputs.tolist() == [[40, 367, 2885, 1464]]
    assert targets.tolist() == [[367, 2885, 1464, 1807]]


def test_without_a_tokenizer_anywhere_the_error_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPT_MIRROR", raising=False)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(InputError, match=r"encoder\.json and vocab\.bpe"):
        create_dataloader_v1("text")
