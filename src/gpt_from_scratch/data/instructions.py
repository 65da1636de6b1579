"""Instructions with their answers (chapter 7, sections 7.2 and 7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import torch
from tiktoken import Encoding
from torch import Tensor
from torch.utils.data import Dataset

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files import read_json

RESPONSE_HEADER = "\n\n### Response:\n"
IGNORE_INDEX = -100


class Entry(TypedDict):
    """One instruction; `input` may be empty."""

    instruction: str
    input: str
    output: str


def read_entries(path: Path) -> list[Entry]:
    """Read a JSON list of entries.

    Raises:
        InputError: naming the file, the entry (from 1) and the key that is wrong.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: expected a list of instructions, found {type(content).__name__} without entries")
    for number, entry in enumerate(content, start=1):
        if not isinstance(entry, dict):
            raise InputError(f"{path}, entry {number}: expected an object, found {type(entry).__name__}")
        for key in Entry.__annotations__:
            if key not in entry:
                raise InputError(f"{path}, entry {number}: key {key!r} is missing")
            if not isinstance(entry[key], str):
                raise InputError(f"{path}, entry {number}, {key}: expected a text, found {shown(entry[key])}")
            if key != "input" and not entry[key].strip():
                raise InputError(f"{path}, entry {number}, {key}: expected a text, found an empty one")
    return content


def split_entries(
    entries: Sequence[Entry], train_fraction: float, test_fraction: float
) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """Split in file order into training, test and validation (in this order, the book's).

    Raises:
        InputError: when a part is empty.
    """
    train_end = int(len(entries) * train_fraction)
    test_end = train_end + int(len(entries) * test_fraction)
    parts = list(entries[:train_end]), list(entries[train_end:test_end]), list(entries[test_end:])
    for name, part in zip(("training", "test", "validation"), parts, strict=True):
        if not part:
            raise InputError(f"instructions: the {name} part of {len(entries)} entries is empty; change the fractions")
    return parts


def format_prompt(entry: Entry) -> str:
    """Return an entry in the Alpaca style, up to where the response begins."""
    prompt = (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
        f"\n\n### Instruction:\n{entry['instruction']}"
    )
    return f"{prompt}\n\n### Input:\n{entry['input']}" if entry["input"] else prompt


def format_response(entry: Entry) -> str:
    """Return the response with its header, as it follows the prompt."""
    return RESPONSE_HEADER + entry["output"]


class Instructions(Dataset[list[int]]):
    """Prompt and response of every entry as token ids.

    Args:
        entries: see `read_entries`.
        tokenizer: encodes texts; special tokens in them are read as plain text.
        max_length: longest sequence in tokens.

    Attributes:
        cut: number of entries that `collate` will cut at `max_length`.
    """

    def __init__(self, entries: Sequence[Entry], tokenizer: Encoding, max_length: int) -> None:
        self.max_length = max_length
        self._token_ids = [
            tokenizer.encode(format_prompt(entry) + format_response(entry), disallowed_special=()) for entry in entries
        ]
        self.cut = sum(len(ids) > max_length for ids in self._token_ids)

    def __len__(self) -> int:
        return len(self._token_ids)

    def __getitem__(self, index: int) -> list[int]:
        return self._token_ids[index]


def collate(
    batch: Sequence[Sequence[int]],
    pad_id: int,
    ignore_index: int = IGNORE_INDEX,
    max_length: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Pad sequences to the batch's longest and return inputs and targets, each `[batch, tokens]` (section 7.3).

    One `pad_id` is appended to each sequence as its end; the targets are the inputs one token later, and in them all
    `pad_id` after the first become `ignore_index`, so that the end is learnt once and the padding not at all.
    """
    longest = max(len(ids) for ids in batch) + 1
    padded = torch.full((len(batch), longest), pad_id)
    for row, ids in enumerate(batch):
        padded[row, : len(ids)] = torch.tensor(ids)
    inputs, targets = padded[:, :-1], padded[:, 1:].clone()
    pads = targets == pad_id
    targets[pads & (pads.cumsum(dim=1) > 1)] = ignore_index
    return inputs[:, :max_length].to(device), targets[:, :max_length].to(device)
