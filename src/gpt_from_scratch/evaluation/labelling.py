"""Classifying texts of any number, as the classifier was trained to (chapter 6).

Each text is computed once however often it occurs. Where the text's own last token decides there is no padding: texts
of one length form a batch, what is left over stands one behind the other. Else all tokens of the padding have to be
computed, since the class depends on them; but where the first one decides and sees no other, it alone is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from tiktoken import Encoding
from torch import Tensor

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.sequences import Sequences
from gpt_from_scratch.training.precision import Precision
from gpt_from_scratch.training.tasks import Classification
from gpt_from_scratch.weights.classifier import ClassifierInfo

TOKENS_AT_ONCE = 2048
"""Tokens of a batch: enough to keep the processor busy, few enough for its cache."""
_OWN_BATCH = TOKENS_AT_ONCE // 4
"""Tokens from which on the texts of one length form batches of their own."""

Batch = tuple[list[int], Tensor | Sequences]
"""Numbers of the texts, and their token ids `[texts, tokens]` or one behind the other."""


@torch.inference_mode()
def class_probabilities(
    model: GPTModel,
    info: ClassifierInfo,
    tokenizer: Encoding,
    texts: Sequence[str],
    *,
    precision: Precision = "fp32",
    progress: Callable[[int], object] = lambda done: None,
) -> np.ndarray:
    """Return the probability of every class for every text, `[texts, classes]`.

    Args:
        texts: longer ones are cut to `info.max_length` tokens.
        precision: bf16: matrix products with 8 bits of precision.
        progress: is told how many further texts are done.

    Raises:
        InputError: for a text without tokens, naming its number from 1.
    """
    numbers: dict[tuple[int, ...], list[int]] = {}
    for number, ids in enumerate(tokenizer.encode_ordinary_batch(list(texts), num_threads=1)):
        if not ids:
            raise InputError(f"text {number + 1}: expected a text to classify, found an empty one")
        numbers.setdefault(tuple(ids[: info.max_length]), []).append(number)
    messages = sorted(numbers, key=len, reverse=True)  # the longest first: what is too much shows at once
    found = np.zeros((len(texts), len(info.labels)))
    task = Classification(deciding_token=info.deciding_token)
    for places, batch in batches(messages, info):
        with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = task.logits(model, batch.to(model.device))
        for place, row in zip(places, torch.softmax(logits.double(), dim=-1).cpu().numpy(), strict=True):
            found[numbers[messages[place]]] = row
        progress(sum(len(numbers[messages[place]]) for place in places))
    return found


def batches(messages: Sequence[Sequence[int]], info: ClassifierInfo) -> Iterator[Batch]:
    """Yield messages, which come in the order of their lengths, in batches of some `TOKENS_AT_ONCE` tokens."""
    if info.deciding_token != "last_real":
        yield from _padded(messages, info)
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


def _padded(messages: Sequence[Sequence[int]], info: ClassifierInfo) -> Iterator[Batch]:
    for part in _parts(range(len(messages)), max(1, TOKENS_AT_ONCE // info.max_length)):
        ids = torch.full((len(part), info.max_length), info.pad_id)
        for row, number in zip(ids, part, strict=True):
            row[: len(messages[number])] = torch.tensor(messages[number])
        yield part, ids


def _parts(numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(numbers), size):
        yield list(numbers[start : start + size])
