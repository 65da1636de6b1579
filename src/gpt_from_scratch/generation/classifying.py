"""Classifying texts (chapter 6): the one path of evaluation, command, page and served model.

Each text is computed once however often it occurs. Where the text's own last token decides there is no padding: texts
of one length form a batch, the rest is packed into one sequence. Else all tokens of the padding are computed, since the
class depends on them; but where the first token decides and sees no other, it alone is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.sequences import Sequences
from gpt_from_scratch.training.tasks import Classification

if TYPE_CHECKING:
    from tiktoken import Encoding

    from gpt_from_scratch.model import GPTModel
    from gpt_from_scratch.training.precision import Precision
    from gpt_from_scratch.weights.classifier import ClassifierInfo

TOKENS_AT_ONCE = 2048
"""Tokens of a batch: enough to keep the processor busy, few enough for its cache."""
_OWN_BATCH = TOKENS_AT_ONCE // 4
"""Tokens from which on the texts of one length form batches of their own."""

Batch = tuple[list[int], Tensor | Sequences]
"""Numbers of the texts, and their token ids `[texts, tokens]` or packed."""


@dataclass(frozen=True)
class Classified:
    """Texts with their classes.

    Attributes:
        names: of the classes.
        probabilities: of every class, `[texts, classes]`, float64.
        lengths: tokens of each text, before it was cut, `[texts]`.
        max_length: tokens that a text was cut to.
    """

    names: tuple[str, ...]
    probabilities: np.ndarray
    lengths: np.ndarray
    max_length: int

    @property
    def best(self) -> list[int]:
        """The number of each text's most probable class; the first of two that are equally so."""
        return self.probabilities.argmax(axis=1).tolist()

    @property
    def labels(self) -> list[str]:
        """The name of each text's most probable class."""
        return [self.names[number] for number in self.best]

    @property
    def cut(self) -> np.ndarray:
        """True for each text that was cut, `[texts]`."""
        return self.lengths > self.max_length

    def cut_note(self, what: str) -> str:
        """Return a sentence on the texts that were cut; `what` is what they are called."""
        number, total = int(self.cut.sum()), len(self.cut)
        return f"{number} of {total} {what} cut to {self.max_length} tokens, the most that the classifier reads"


def classify(
    model: GPTModel,
    info: ClassifierInfo,
    tokenizer: Encoding,
    texts: Sequence[str],
    *,
    batch_size: int | None = None,
    precision: Precision = "fp32",
    progress: Callable[[int], object] = lambda done: None,
) -> Classified:
    """Return the classes of texts.

    Args:
        info: labels, length, padding and deciding token, as the classifier's folder has them.
        texts: longer ones are cut to their first `info.max_length` tokens.
        batch_size: padded texts in a batch; those of some `TOKENS_AT_ONCE` tokens if None.
        precision: bf16: matrix products with 8 bits of precision.
        progress: is told how many further texts are done.

    Raises:
        InputError: for a blank text, naming its number from 1.
    """
    encoded = []
    for number, (text, ids) in enumerate(zip(texts, _encode(tokenizer, texts), strict=True), start=1):
        if not text.strip():
            raise InputError(f"text {number}: expected a text to classify, found an empty one")
        encoded.append(ids)
    cut = [ids[: info.max_length] for ids in encoded]
    found = probabilities(model, info, cut, batch_size=batch_size, precision=precision, progress=progress)
    return Classified(info.labels, found, np.array([len(ids) for ids in encoded]), info.max_length)


def padded_ids(info: ClassifierInfo, tokenizer: Encoding, text: str) -> tuple[list[int], int]:
    """Return a text's token ids as the classifier reads them, cut and padded, and how many of them are the text's."""
    ids = _encode(tokenizer, [text])[0][: info.max_length]
    padding = [] if info.deciding_token == "last_real" else [info.pad_id] * (info.max_length - len(ids))
    return ids + padding, len(ids)


@torch.inference_mode()
def probabilities(
    model: GPTModel,
    info: ClassifierInfo,
    messages: Sequence[Sequence[int]],
    *,
    batch_size: int | None = None,
    precision: Precision = "fp32",
    progress: Callable[[int], object] = lambda done: None,
) -> np.ndarray:
    """Return the probability of every class, `[messages, classes]`, float64.

    Args:
        messages: token ids, at least one and at most `info.max_length` each; the other arguments as in `classify`.
    """
    numbers: dict[tuple[int, ...], list[int]] = {}
    for number, ids in enumerate(messages):
        numbers.setdefault(tuple(ids), []).append(number)
    different = sorted(numbers, key=len, reverse=True)  # the longest first: too little memory shows at once
    found = np.zeros((len(messages), len(info.labels)))
    task = Classification(deciding_token=info.deciding_token)
    for places, batch in batches(different, info, batch_size):
        with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = task.logits(model, batch.to(model.device))
        for place, row in zip(places, torch.softmax(logits.float(), dim=-1).cpu().numpy(), strict=True):
            found[numbers[different[place]]] = row
        progress(sum(len(numbers[different[place]]) for place in places))
    return found


def batches(messages: Sequence[Sequence[int]], info: ClassifierInfo, batch_size: int | None = None) -> Iterator[Batch]:
    """Yield messages, which come in the order of their lengths, in batches; arguments as in `probabilities`."""
    if info.deciding_token != "last_real":
        yield from _padded(messages, info, batch_size or max(1, TOKENS_AT_ONCE // info.max_length))
        return
    by_length: dict[int, list[int]] = {}
    for number, message in enumerate(messages):
        by_length.setdefault(len(message), []).append(number)
    waiting: list[int] = []
    for length, numbers in by_length.items():
        if length * len(numbers) < _OWN_BATCH:
            waiting += numbers
            continue
        for part in _parts(numbers, max(1, TOKENS_AT_ONCE // length)):
            yield part, torch.tensor([messages[number] for number in part])
    start = tokens = 0
    for end, number in enumerate(waiting, start=1):
        tokens += len(messages[number])
        if tokens >= TOKENS_AT_ONCE or end == len(waiting):
            part, start, tokens = waiting[start:end], end, 0
            yield part, Sequences.of([torch.tensor(messages[number]) for number in part])


def _padded(messages: Sequence[Sequence[int]], info: ClassifierInfo, batch_size: int) -> Iterator[Batch]:
    for part in _parts(range(len(messages)), batch_size):
        ids = torch.full((len(part), info.max_length), info.pad_id)
        for row, number in zip(ids, part, strict=True):
            row[: len(messages[number])] = torch.tensor(messages[number])
        yield part, ids


def _parts(numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(numbers), size):
        yield list(numbers[start : start + size])


def _encode(tokenizer: Encoding, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of texts; special tokens in them are read as plain text."""
    return tokenizer.encode_ordinary_batch(list(texts), num_threads=1)
