"""Instructions with their answers (chapter 7, sections 7.2 and 7.3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from tiktoken import Encoding
from torch import Tensor
from torch.utils.data import Dataset

from gpt_from_scratch.data.instructions.conversations import OWN_KEYS, is_conversation, read_conversation, turns_of
from gpt_from_scratch.data.instructions.prompts import PromptStyle, Question, format_prompt, response_header
from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.writing import read_list

IGNORE_INDEX = -100


class Entry(Question):
    """One instruction with its answer."""

    output: str


def read_entries(path: Path, *, empty_answers: bool = False) -> list[Entry]:
    """Read a JSON list of entries, the form of the book's data and of Stanford's Alpaca, or JSON Lines.

    Entries may be conversations too; see `conversations`.

    Args:
        empty_answers: let an answer be empty, as 28 of Alpaca's 52,002 are; else it is an error.

    Raises:
        InputError: naming the file, the entry (from 1) and the key or message that is wrong.
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
        if own := [key for key in OWN_KEYS if key in entry]:
            raise InputError(f"{path}, entry {number}: expected a conversation as messages, found the key {own[0]!r}")
        if kind is Entry and is_conversation(entry):
            content[number - 1] = read_conversation(entry, f"{path}, entry {number}")
            continue
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


def format_conversation(entry: Entry, style: PromptStyle = "alpaca") -> str:
    """Return an entry up to where its last response begins, as a text to read: earlier turns have no end of text."""
    *earlier, last = turns_of(entry)
    return "\n\n".join(
        [*(format_prompt(turn, style) + format_response(turn, style) for turn in earlier), format_prompt(last, style)]
    )


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


def encode_entry(
    tokenizer: Encoding, entry: Entry, style: PromptStyle = "alpaca"
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return an entry's token ids without the last end of text, and where in them each turn's response lies.

    A response is its header, the answer and the end of the text, as the model generates them.
    """
    ids, responses = [], []
    for turn in turns_of(entry):
        response = format_response(turn, style)
        own = tokenizer.encode(format_prompt(turn, style) + response, disallowed_special=())
        responses.append((len(ids) + response_start(tokenizer, own, response), len(ids) + len(own) + 1))
        ids += [*own, tokenizer.eot_token]
    return ids[:-1], responses


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
        encoded = [encode_entry(tokenizer, entry, style) for entry in entries]
        self._token_ids = [ids for ids, _ in encoded]
        self._responses = [responses for _, responses in encoded]
        self.cut = sum(len(ids) > max_length for ids in self._token_ids)

    def learnt(self, mask_instruction: bool) -> list[list[tuple[int, int]]]:
        """Return which parts of each sequence with its end are learnt: of several turns the responses alone.

        Args:
            mask_instruction: learn no more than the response of single turns either.

        Raises:
            InputError: when `max_length` leaves nothing of a response, where only these are learnt.
        """
        parts = []
        for number, (ids, responses) in enumerate(zip(self._token_ids, self._responses, strict=True), start=1):
            alone = mask_instruction or len(responses) > 1
            parts.append(responses if alone else [(0, len(ids) + 1)])
            if alone and responses[0][0] > self.max_length:
                raise InputError(
                    f"instruct.max_length: expected room for a response after every prompt, but prompt {number} of "
                    f"{len(self)} has {responses[0][0]} tokens, limit {self.max_length}"
                )
        return parts

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
    learnt: Sequence[Sequence[tuple[int, int]]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Pad sequences to the batch's longest and return inputs and targets, each `[batch, tokens]` (section 7.3).

    One `pad_id` is appended to each sequence as its end; the targets are the inputs one token later, and in them all
    `pad_id` after the first become `ignore_index`, so that the end is learnt once and the padding not at all.

    Args:
        learnt: begin and end of those parts of each sequence with its end that alone are learnt (exercise 7.2), ends
            of text inside of them included.
    """
    longest = max(len(ids) for ids in batch) + 1
    padded = torch.full((len(batch), longest), pad_id)
    for row, ids in enumerate(batch):
        padded[row, : len(ids)] = torch.tensor(ids)
    inputs, targets = padded[:, :-1], padded[:, 1:].clone()
    pads = targets == pad_id
    targets[pads & (pads.cumsum(dim=1) > 1)] = ignore_index
    for row, parts in enumerate(learnt or ()):
        targets[row] = ignore_index
        for begin, end in parts:
            targets[row, max(begin - 1, 0) : end - 1] = padded[row, max(begin, 1) : end]
    return inputs[:, :max_length].to(device), targets[:, :max_length].to(device)
