"""Instructions with their answers (chapter 7, sections 7.2 and 7.3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from tiktoken import Encoding
from torch import Tensor
from torch.utils.data import Dataset

from gpt_from_scratch.data.instructions.prompts import PromptStyle, Question, format_prompt, response_header
from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.writing import read_list

IGNORE_INDEX = -100


class Entry(Question):
    """One instruction with its answer."""

    output: str


def read_entries(path: Path, *, empty_answers: bool = False) -> list[Entry]:
    """Read a JSON list of entries, the form of the book's data and of Stanford's Alpaca, or JSON Lines.

    Args:
        empty_answers: let an answer be empty, as 28 of Alpaca's 52,002 are; else it is an error.

    Raises:
        InputError: naming the file, the entry (from 1) and the key that is wrong.
    """
    return read_objects(path, Entry, "instructions", {"input", *(["output"] if empty_answers else [])})


def read_objects(path: Path, kind: type, what: str, may_be_empty: Collection[str]) -> list[Any]:
    """Read a JSON list or JSON Lines of objects with texts; a missing `input` is an empty one, further keys are kept.

    Args:
        kind: a `TypedDict` whose keys are to be there.
        what: what an object is, for messages.
        may_be_empty: keys whose text may be empty.
    """
    content = read_list(path)
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: expected a list of {what}, found {type(content).__name__} without entries")
    for number, entry in enumerate(content, start=1):
        if not isinstance(entry, dict):
            raise InputError(f"{path}, entry {number}: expected an object, found {type(entry).__name__}")
        entry.setdefault("input", "")
        for key in kind.__annotations__:
            if key not in entry:
                raise InputError(f"{path}, entry {number}: key {key!r} is missing")
            if not isinstance(entry[key], str):
                raise InputError(f"{path}, entry {number}, {key}: expected a text, found {shown(entry[key])}")
            if key not in may_be_empty and not entry[key].strip():
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


def format_response(entry: Entry, style: PromptStyle = "alpaca") -> str:
    """Return the response with its header, as it follows the prompt."""
    return response_header(style) + entry["output"]


def response_start(tokenizer: Encoding, ids: Sequence[int], response: str) -> int:
    """Return where the tokens begin that hold the last part of a text.

    A text is encoded in one piece, as it is read; this finds a part of it by the length of its bytes.

    Args:
        ids: the whole text's tokens.
        response: what the text ends with; a token that reaches into it counts as its first.
    """
    begin, covered, wanted = len(ids), 0, len(response.encode("utf-8"))
    while begin > 0 and covered < wanted:
        begin -= 1
        covered += len(tokenizer.decode_single_token_bytes(ids[begin]))
    return begin


class Instructions(Dataset[list[int]]):
    """Prompt and response of every entry as token ids.

    Args:
        entries: see `read_entries`.
        tokenizer: encodes texts; special tokens in them are read as plain text.
        max_length: longest sequence in tokens.
        style: how prompt and response are written.

    Attributes:
        cut: number of entries that `collate` will cut at `max_length`.
    """

    def __init__(
        self, entries: Sequence[Entry], tokenizer: Encoding, max_length: int, style: PromptStyle = "alpaca"
    ) -> None:
        self.max_length = max_length
        self._tokenizer = tokenizer
        self._responses = [format_response(entry, style) for entry in entries]
        self._token_ids = [
            tokenizer.encode(format_prompt(entry, style) + response, disallowed_special=())
            for entry, response in zip(entries, self._responses, strict=True)
        ]
        self.cut = sum(len(ids) > max_length for ids in self._token_ids)

    def prompt_lengths(self) -> list[int]:
        """Return how many tokens of each sequence are the prompt's: those before the response and its header.

        Raises:
            InputError: when `max_length` leaves nothing of a response.
        """
        lengths = []
        for number, (ids, response) in enumerate(zip(self._token_ids, self._responses, strict=True), start=1):
            lengths.append(response_start(self._tokenizer, ids, response))
            if lengths[-1] > self.max_length:
                raise InputError(
                    f"instruct.max_length: expected room for a response after every prompt, but prompt {number} of "
                    f"{len(self)} has {lengths[-1]} tokens, limit {self.max_length}"
                )
        return lengths

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
    prompt_lengths: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Pad sequences to the batch's longest and return inputs and targets, each `[batch, tokens]` (section 7.3).

    One `pad_id` is appended to each sequence as its end; the targets are the inputs one token later, and in them all
    `pad_id` after the first become `ignore_index`, so that the end is learnt once and the padding not at all.

    Args:
        prompt_lengths: tokens at the beginning of each sequence that are not learnt either (exercise 7.2).
    """
    longest = max(len(ids) for ids in batch) + 1
    padded = torch.full((len(batch), longest), pad_id)
    for row, ids in enumerate(batch):
        padded[row, : len(ids)] = torch.tensor(ids)
    inputs, targets = padded[:, :-1], padded[:, 1:].clone()
    pads = targets == pad_id
    targets[pads & (pads.cumsum(dim=1) > 1)] = ignore_index
    for row, length in enumerate(prompt_lengths or ()):
        targets[row, : max(length - 1, 0)] = ignore_index
    return inputs[:, :max_length].to(device), targets[:, :max_length].to(device)
