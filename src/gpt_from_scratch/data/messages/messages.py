"""Labelled messages as token ids, and what each class of them weighs (chapter 6, section 6.3)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from tiktoken import Encoding
from torch import Tensor
from torch.utils.data import Dataset

from gpt_from_scratch.errors import InputError, reason, shown
from gpt_from_scratch.files.reading import read_text


def read_split(path: Path, classes: int = 2) -> pd.DataFrame:
    """Read a set that `split_spam` wrote, columns `Label` (0, 1) and `Text`; a message `NA` stays a message.

    Args:
        classes: how many there are; labels are numbers below.

    Raises:
        InputError: when the file is missing, empty or has other columns.
    """
    content = read_text(path)
    columns = content.partition("\n")[0].strip()
    if content and columns != "Label,Text":
        raise InputError(f"{path}: expected the columns Label,Text, found {shown(columns)}")
    try:
        frame = pd.read_csv(io.StringIO(content), keep_default_na=False, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: not a CSV file of messages: {reason(error)}") from None
    if frame.empty:
        raise InputError(f"{path}: expected messages, found none")
    if not isinstance(frame.index, pd.RangeIndex):
        raise InputError(f"{path}: expected two cells a row, found more")
    known = {str(number) for number in range(classes)}
    expected = "0 or 1" if classes == 2 else f"a number from 0 to {classes - 1}"
    for number, (label, text) in enumerate(zip(frame["Label"], frame["Text"], strict=True), start=1):
        if label not in known:
            raise InputError(f"{path}, row {number}, column Label: expected {expected}, found {shown(label)}")
        if text == "":
            raise InputError(f"{path}, row {number}, column Text: expected a message, found none")
    return frame.astype({"Label": int})


def balanced_weights(labels: Sequence[int] | Tensor, classes: int) -> Tensor:
    """Return a weight for each class, `[classes]`: in all, each then weighs the same, and a message 1 on average.

    Args:
        labels: of all training messages, `[messages]`.

    Raises:
        InputError: when a class has no message.
    """
    counts = torch.bincount(torch.as_tensor(labels), minlength=classes)
    if not counts.all():
        missing = int((counts == 0).int().argmax())
        raise InputError(f"class_weights: expected training messages of every class, found none of number {missing}")
    return len(labels) / (classes * counts)


class Messages(Dataset[tuple[Tensor, Tensor]]):
    """Messages, padded on the right to one length or as long as they are.

    Args:
        frame: columns `Label` and `Text`, see `read_split`.
        tokenizer: encodes texts; special tokens in them are read as plain text.
        pad_id: token that shorter messages are padded with.
        max_length: length of every message in tokens, longer ones are cut; the longest message's if None.
        limit: most tokens that the model takes; bounds `max_length`.
        padded: whether they are padded.

    Attributes:
        token_ids: `[messages, max_length]`; without padding a list of `[tokens]`.
        labels: `[messages]`.
        cut: number of messages that were cut.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        tokenizer: Encoding,
        *,
        pad_id: int,
        max_length: int | None = None,
        limit: int | None = None,
        padded: bool = True,
    ) -> None:
        encoded = [tokenizer.encode(text, disallowed_special=()) for text in frame["Text"]]
        longest = max(len(ids) for ids in encoded)
        self.max_length = longest if max_length is None else max_length
        if limit is not None:
            self.max_length = min(self.max_length, limit)
        self.cut = sum(len(ids) > self.max_length for ids in encoded)
        kept = [torch.tensor(ids[: self.max_length]) for ids in encoded]
        self.token_ids: Tensor | list[Tensor] = kept
        if padded:
            self.token_ids = torch.full((len(kept), self.max_length), pad_id)
            for row, ids in zip(self.token_ids, kept, strict=True):
                row[: len(ids)] = ids
        self.labels = torch.tensor(frame["Label"].to_numpy())

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return token ids `[max_length]`, or without padding `[tokens]`, and the label, a scalar."""
        return self.token_ids[index], self.labels[index]
