"""Instructions with a preferred and a rejected answer each, for preference tuning (the companion's ch07/04)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tiktoken import Encoding
from torch import Tensor
from torch.utils.data import Dataset

from gpt_from_scratch.data.instructions.entries import collate, read_objects, response_start
from gpt_from_scratch.data.instructions.prompts import PromptStyle, Question, format_prompt, response_header
from gpt_from_scratch.errors import InputError


class Preference(Question):
    """One instruction with two answers."""

    chosen: str
    rejected: str


def read_preferences(path: Path) -> list[Preference]:
    """Read a JSON list of preferences, or JSON Lines; further keys, such as `output`, are kept.

    Raises:
        InputError: naming the file, the entry (from 1) and the key that is wrong.
    """
    return read_objects(path, Preference, "preferences", {"input"})


class Pair(NamedTuple):
    """Prompt and answer as token ids, once with the chosen and once with the rejected answer.

    Attributes:
        sequences: the two, the chosen one first.
        begins: where in each the response begins.
        reference: mean log-probability of the tokens of each response under the model that the tuning starts from,
            `[2]`; NaN until it is known.
    """

    sequences: tuple[list[int], list[int]]
    begins: tuple[int, int]
    reference: Tensor


class Preferences(Dataset[Pair]):
    """Every preference as a `Pair`.

    What counts as the response is the companion's choice: the words of its header (`### Response:`) and the answer,
    without the blank line before it and without the end of the text.

    Args:
        entries: see `read_preferences`.
        tokenizer: encodes texts; special tokens in them are read as plain text.
        max_length: longest sequence in tokens.
        style: how prompt and response are written.

    Attributes:
        cut: number of entries of which `collate_pairs` cuts a response at `max_length`.
        reference: see `Pair`, `[entries, 2]`; to be filled in.

    Raises:
        InputError: when `max_length` leaves nothing of a response.
    """

    def __init__(
        self, entries: Sequence[Preference], tokenizer: Encoding, max_length: int, style: PromptStyle = "alpaca"
    ) -> None:
        self.max_length = max_length
        self._sequences, self._begins = [], []
        for number, entry in enumerate(entries, start=1):
            prompt = format_prompt(entry, style)
            responses = [response_header(style) + entry[key] for key in ("chosen", "rejected")]
            pair = [tokenizer.encode(prompt + response, disallowed_special=()) for response in responses]
            begins = [
                response_start(tokenizer, ids, response.lstrip()) for ids, response in zip(pair, responses, strict=True)
            ]
            if max(begins) > max_length:
                raise InputError(
                    f"instruct.max_length: expected room for a response after every prompt, but prompt {number} of "
                    f"{len(entries)} has {max(begins)} tokens, limit {max_length}"
                )
            self._sequences.append(tuple(pair))
            self._begins.append(tuple(begins))
        self.cut = sum(max(map(len, pair)) > max_length for pair in self._sequences)
        self.reference = torch.full((len(entries), 2), torch.nan)

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int) -> Pair:
        return Pair(self._sequences[index], self._begins[index], self.reference[index])

    def batches(self, batch_size: int, pad_id: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield all pairs in order, collated; unlike a `DataLoader` this draws no random number."""
        for start in range(0, len(self), batch_size):
            pairs = [self[number] for number in range(start, min(start + batch_size, len(self)))]
            yield collate_pairs(pairs, pad_id, self.max_length)


def collate_pairs(batch: Sequence[Pair], pad_id: int, max_length: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs and targets, each `[pairs, 2, tokens]`, and the pairs' `reference` `[pairs, 2]`.

    In the targets all that is no response is -100.
    """
    sequences = [ids for pair in batch for ids in pair.sequences]
    begins = [begin for pair in batch for begin in pair.begins]
    responses = [[(begin, len(ids))] for begin, ids in zip(begins, sequences, strict=True)]
    inputs, targets = collate(sequences, pad_id, max_length=max_length, learnt=responses)
    return *(part.unflatten(0, (len(batch), 2)) for part in (inputs, targets)), torch.stack(
        [p.reference for p in batch]
    )
