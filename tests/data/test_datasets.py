"""Texts, messages and instructions as tensors, beside the reference's data sets."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llms_from_scratch.ch02 import GPTDatasetV1
from llms_from_scratch.ch06 import SpamDataset
from llms_from_scratch.ch07 import InstructionDataset, custom_collate_fn
from llms_from_scratch.ch07 import format_input as reference_prompt
from torch.utils.data import DataLoader

from gpt_from_scratch.data.instructions.entries import Instructions, collate, format_prompt, read_entries, split_entries
from gpt_from_scratch.data.messages.messages import Messages, read_split
from gpt_from_scratch.data.text.corpus import TokenWindows, read_text, split_text
from gpt_from_scratch.data.text.loaders import text_loaders
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tokenizer.bpe import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@pytest.fixture(scope="module")
def text(root):
    return read_text(root / "data/sample/the-lighthouse.txt")[:4000]


@pytest.mark.parametrize(("length", "stride"), [(16, 16), (16, 4), (50, 64)])
def test_windows_equal_the_reference(tokenizer, text, length, stride):
    theirs = GPTDatasetV1(text, tokenizer, length, stride)
    ours = TokenWindows(tokenizer.encode(text), length, stride)
    assert len(ours) == len(theirs)
    for our_pair, their_pair in zip(ours, theirs, strict=False):
        assert all(torch.equal(a, b) for a, b in zip(our_pair, their_pair, strict=True))


def test_loaders_draw_as_the_references_do(tokenizer, text):
    ids = tokenizer.encode(text)
    ours, _ = text_loaders(ids, ids, 16, 16, 3)
    theirs = DataLoader(GPTDatasetV1(text, tokenizer, 16, 16), batch_size=3, shuffle=True, drop_last=True)
    for loader in (ours, theirs):
        torch.manual_seed(4)
        loader.batches = [batch[0] for batch in loader]
    assert all(torch.equal(a, b) for a, b in zip(ours.batches, theirs.batches, strict=True))


@pytest.mark.parametrize("stride", [1, 16, 40])
def test_the_validation_text_is_covered_whatever_the_stride(stride):
    _, validation = text_loaders(range(100, 300), range(100), 16, stride, 3)
    assert torch.cat([inputs.flatten() for inputs, _ in validation]).tolist() == [*range(96)]


def test_a_short_text():
    with pytest.raises(InputError, match="training text: expected more than one context of 8 tokens, found 8 tokens"):
        TokenWindows(range(8), 8, 8, "training text")
    assert len(TokenWindows(range(9), 8, 8)) == 1


def test_split_by_character():
    assert split_text("abcdefghij", 0.9) == ("abcdefghi", "j")


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"  \n", "found an empty file"), (b"ab\nc\xe9d", "line 2: expected UTF-8 .* 0xe9")]
)
def test_unusable_texts(tmp_path, content, complaint):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        read_text(path)
    with pytest.raises(InputError, match="file not found"):
        read_text(tmp_path / "none")


TEXTS = ["hello", "NA", 'he said "no, never"', "two\nlines", "null", "a long one " * 9, "£5 <|endoftext|>"]


def test_messages_survive_the_file_and_equal_the_reference(tokenizer, tmp_path):
    frame = pd.DataFrame({"Label": [0, 1] * 3 + [1], "Text": TEXTS})
    frame.to_csv(tmp_path / "all.csv", index=False)
    assert read_split(tmp_path / "all.csv")["Text"].tolist() == TEXTS
    # The reference reads NA and null as missing and refuses special tokens.
    plain = frame[~frame["Text"].isin(["NA", "null", TEXTS[-1]])]
    plain.to_csv(tmp_path / "plain.csv", index=False)
    for max_length in (None, 5):
        theirs = SpamDataset(tmp_path / "plain.csv", tokenizer, max_length, tokenizer.eot_token)
        ours = Messages(plain, tokenizer, pad_id=tokenizer.eot_token, max_length=max_length)
        assert ours.max_length == theirs.max_length
        for our_pair, their_pair in zip(ours, theirs, strict=False):
            assert all(torch.equal(a, b) for a, b in zip(our_pair, their_pair, strict=True))


def test_cut_messages_are_counted(tokenizer):
    frame = pd.DataFrame({"Label": [0, 1], "Text": ["a", "a b c d e f g h i j k l m n o p"]})
    messages = Messages(frame, tokenizer, pad_id=0, limit=4)
    assert (messages.max_length, messages.cut) == (4, 1)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "not a CSV file"),
        ("a,b\n1,2\n", "expected the columns Label,Text, found"),
        ("Label,Text\n", "expected messages, found none"),
        ("Label,Text\n2,x\n", "row 1, column Label: expected 0 or 1, found '2'"),
    ],
)
def test_unusable_sets(tmp_path, content, complaint):
    path = tmp_path / "set.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_split(path)
    with pytest.raises(InputError, match="file not found"):
        read_split(tmp_path / "none.csv")


ids = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=5)


@given(ids, st.one_of(st.none(), st.integers(1, 12)))
@settings(deadline=None)
def test_collate_equals_the_reference(batch, max_length):
    ours = collate(batch, pad_id=9, max_length=max_length)
    theirs = custom_collate_fn(batch, pad_token_id=9, allowed_max_length=max_length)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_prompts_and_tokens_equal_the_reference(root, tokenizer):
    entries = read_entries(root / "data/sample/instruction-data.json")
    assert [format_prompt(entry) for entry in entries] == [reference_prompt(entry) for entry in entries]
    ours, theirs = Instructions(entries, tokenizer, 90), InstructionDataset(entries, tokenizer)
    assert [ours[number] for number in range(len(ours))] == theirs.encoded_texts
    assert ours.cut == sum(len(tokens) > 90 for tokens in theirs.encoded_texts) > 0


def test_the_books_split(mirror):
    entries = read_entries(mirror / "instruction-data.json")
    parts = split_entries(entries, 0.85, 0.1)
    assert [len(part) for part in parts] == [935, 110, 55]
    assert [*parts[0], *parts[1], *parts[2]] == entries


def test_an_empty_part():
    with pytest.raises(InputError, match="the test part of 5 entries is empty"):
        split_entries([{"instruction": "a", "input": "", "output": "b"}] * 5, 0.85, 0.1)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "expected a list of instructions"),
        ({"a": 1}, "entry 1: key 'instruction' is missing"),
        ([1], "entry 1: expected an object, found int"),
        ([{"instruction": "a", "input": ""}], "entry 1: key 'output' is missing"),
        ([{"instruction": "a", "input": None, "output": "b"}], "entry 1, input: expected a text, found None"),
        ([{"instruction": "a", "input": "", "output": " "}], "entry 1, output: expected a text, found an empty one"),
    ],
)
def test_unusable_instructions(tmp_path, content, complaint):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=complaint):
        read_entries(path)


def test_instructions_that_are_no_json(tmp_path):
    path = tmp_path / "data.json"
    path.write_text('[\n{"a": }]')
    with pytest.raises(InputError, match=r"data\.json, line 2, column 7: not valid JSON"):
        read_entries(path)
