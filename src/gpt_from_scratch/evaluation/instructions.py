"""The test entries of an instruction tuning (chapter 7): which fit the model, and its loss on their responses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tiktoken import Encoding
from torch import Tensor

from gpt_from_scratch.data.instructions.entries import Entry, collate, encode_entry, response_start
from gpt_from_scratch.data.instructions.prompts import PromptStyle
from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.evaluation.language import bits_per_byte, mean_bytes, token_loss
from gpt_from_scratch.generation.answering import prompt_ids
from gpt_from_scratch.model import GPTModel


def fitting_entries(
    entries: Sequence[Entry], tokenizer: Encoding, style: PromptStyle, context_length: int, max_new_tokens: int
) -> tuple[list[Entry], list[str]]:
    """Return the test entries whose prompt fits the model's context with an answer, and a note on each of the others.

    Raises:
        InputError: when none fits.
    """
    lengths = [len(prompt_ids(tokenizer, entry, style)) for entry in entries]
    room = context_length - max_new_tokens
    fitting = [entry for entry, length in zip(entries, lengths, strict=True) if length <= room]
    if not fitting:
        raise InputError(
            f"evaluate.response_tokens: expected room for an answer in the model's context of {context_length} tokens, "
            f"found {max_new_tokens}, and {min(lengths)} or more in each of the {len(lengths)} test prompts; "
            "choose fewer"
        )
    return fitting, [
        f"entry {number} of {len(entries)}, {shown(entry['instruction'][:40])}: prompt of {length} tokens, limit {room}"
        for number, (entry, length) in enumerate(zip(entries, lengths, strict=True), start=1)
        if length > room
    ]


def response_metrics(
    model: GPTModel,
    tokenizer: Encoding,
    entries: Sequence[Entry],
    max_length: int,
    batch_size: int,
    style: PromptStyle = "alpaca",
) -> dict[str, float]:
    """Return the loss (nats per token) on the (last) responses and their ends alone, and their bits per byte.

    The bits are those of all tokens that the loss counts, the bytes the UTF-8 of the same tokens: what `max_length`
    cuts off is in neither, and an end adds bits and no byte.

    Raises:
        InputError: when `max_length` leaves nothing of any response, or all are empty.
    """
    starts = range(0, len(entries), batch_size)
    batches = [_response_batch(tokenizer, entries[start : start + batch_size], max_length, style) for start in starts]
    loss, mean = token_loss(model, batches), mean_bytes(tokenizer, batches)
    if math.isnan(loss):
        raise InputError(
            f"instruct.max_length: expected room for a response after one of the {len(entries)} test prompts at least, "
            f"found {max_length} tokens, which each of them fills"
        )
    if math.isnan(mean):
        raise InputError(f"instruct.data: expected text in one of the {len(entries)} test answers at least, found none")
    return {"response_loss": loss, "response_bits_per_byte": bits_per_byte(loss, mean)}


def _response_batch(
    tokenizer: Encoding, entries: Sequence[Entry], max_length: int, style: PromptStyle
) -> tuple[Tensor, Tensor]:
    """Return inputs and targets `[batch, tokens]`; the targets before each response are ignored."""
    texts, answers = [], []
    for entry in entries:
        ids, _ = encode_entry(tokenizer, entry, style)
        texts.append(ids)
        answers.append([(response_start(tokenizer, ids, entry["output"]), len(ids) + 1)])
    return collate(texts, tokenizer.eot_token, max_length=max_length, learnt=answers)
