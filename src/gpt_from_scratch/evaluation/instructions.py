"""How well instructions are answered (chapter 7), by measures that need no judge."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from tiktoken import Encoding
from torch import Tensor

from gpt_from_scratch.data.instructions.entries import Entry, collate, format_response, response_start
from gpt_from_scratch.data.instructions.prompts import PromptStyle, format_prompt, without_header
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.language import token_loss
from gpt_from_scratch.generation import generate_each
from gpt_from_scratch.model import GPTModel


def answers(
    model: GPTModel,
    tokenizer: Encoding,
    entries: Sequence[Entry],
    max_new_tokens: int,
    batch_size: int,
    progress: Callable[[int], None] = lambda done: None,
    style: PromptStyle = "alpaca",
) -> list[str]:
    """Answer every entry greedily, as the book does: the prompt without its response header goes in.

    The model writes the header itself; it is taken out of the answer. A prompt that leaves no room in the model's
    context is cut on the left; see `cut_prompts`.

    Args:
        batch_size: entries that are answered at a time; an answer that has ended makes room for the next.
        progress: is told how many further entries are done.
        style: how the model was taught that an instruction is written.
    """
    room = _room(model, max_new_tokens)
    prompts = [_prompt_ids(tokenizer, entry, style)[-room:] for entry in entries]
    # Prompts that are read together are padded to the longest of them.
    by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    in_order = [prompts[number] for number in by_length]
    texts = [""] * len(prompts)
    for place, ids in generate_each(model, in_order, max_new_tokens, eos_id=tokenizer.eot_token, batch_size=batch_size):
        texts[by_length[place]] = without_header(tokenizer.decode(ids), style)
        progress(1)
    return texts


def cut_prompts(
    model: GPTModel,
    tokenizer: Encoding,
    entries: Sequence[Entry],
    max_new_tokens: int,
    style: PromptStyle = "alpaca",
) -> int:
    """Return how many prompts `answers` cuts."""
    room = _room(model, max_new_tokens)
    return sum(len(_prompt_ids(tokenizer, entry, style)) > room for entry in entries)


def response_loss(
    model: GPTModel,
    tokenizer: Encoding,
    entries: Sequence[Entry],
    max_length: int,
    batch_size: int,
    style: PromptStyle = "alpaca",
) -> float:
    """Return the mean loss, nats per token, on the tokens of the responses and their ends alone.

    Raises:
        InputError: when `max_length` leaves nothing of any response.
    """
    loss = token_loss(
        model,
        (
            _response_batch(tokenizer, entries[start : start + batch_size], max_length, style)
            for start in range(0, len(entries), batch_size)
        ),
    )
    if math.isnan(loss):
        raise InputError(
            f"instruct.max_length: expected room for some of the {len(entries)} test responses after their prompts, "
            f"found {max_length} tokens, which hold none"
        )
    return loss


def _room(model: GPTModel, max_new_tokens: int) -> int:
    return max(1, model.config.context_length - max_new_tokens)


def _prompt_ids(tokenizer: Encoding, entry: Entry, style: PromptStyle) -> list[int]:
    return tokenizer.encode(format_prompt(entry, style), disallowed_special=())


def _response_batch(
    tokenizer: Encoding, entries: Sequence[Entry], max_length: int, style: PromptStyle
) -> tuple[Tensor, Tensor]:
    """Return inputs and targets in which everything before the response is ignored."""
    texts, begins = [], []
    for entry in entries:
        ids = tokenizer.encode(format_prompt(entry, style) + format_response(entry, style), disallowed_special=())
        texts.append(ids)
        begins.append(response_start(tokenizer, ids, entry["output"]))
    return collate(texts, tokenizer.eot_token, max_length=max_length, prompt_lengths=begins)


def answer_metrics(entries: Sequence[Entry], texts: Sequence[str]) -> dict[str, float]:
    """Return the share of exact answers, as they are and but for case and signs, and the mean ROUGE-L."""
    expected = [entry["output"].strip() for entry in entries]
    pairs = list(zip(expected, texts, strict=True))
    return {
        "entries": len(pairs),
        "exact_match": sum(a == b for a, b in pairs) / len(pairs),
        "loose_match": sum(words(a) == words(b) for a, b in pairs) / len(pairs),
        "rouge_l": sum(rouge_l(a, b) for a, b in pairs) / len(pairs),
    }


def words(text: str) -> list[str]:
    """Return a text's words in lower case."""
    return re.findall(r"\w+", text.lower())


def rouge_l(reference: str, candidate: str) -> float:
    """Return ROUGE-L: the F-measure of the longest common subsequence of words (Lin 2004), without stemming.

    Two texts without words agree fully; one against none not at all.
    """
    expected, found = words(reference), words(candidate)
    if not expected or not found:
        return float(expected == found)
    row = [0] * (len(found) + 1)
    for word in expected:
        previous = row
        row = [0]
        for column, other in enumerate(found, start=1):
            row.append(previous[column - 1] + 1 if word == other else max(previous[column], row[-1]))
    return 2 * row[-1] / (len(expected) + len(found))
