"""Figures of a language model, loss, perplexity and bits per byte, and its samples (chapter 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from tiktoken import Encoding
from torch import Tensor
from torch.nn import functional as F

from gpt_from_scratch.generation import GREEDY, Ending, Sampling, generate
from gpt_from_scratch.generation.text import check_room, encode
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT


@torch.no_grad()
def token_loss(model: GPTModel, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the mean loss per learnt target token, in nats, over batches of inputs and targets `[batch, tokens]`."""
    total, count = 0.0, 0
    for inputs, targets in batches:
        targets = targets.to(model.device)
        logits = model(inputs.to(model.device))
        total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        count += int((targets >= 0).sum())
    return total / count if count else math.nan


def language_metrics(
    model: GPTModel, parts: Mapping[str, Iterable], bytes_per_token: Mapping[str, float]
) -> dict[str, float]:
    """Return loss (nats per token), perplexity and bits per byte on each part of the text.

    Args:
        parts: each part's batches, by its name.
        bytes_per_token: `mean_bytes` of each.
    """
    metrics = {}
    for part, batches in parts.items():
        loss = token_loss(model, batches)
        metrics[f"{part}_loss"] = loss
        metrics[f"{part}_perplexity"] = perplexity(loss)
        metrics[f"{part}_bits_per_byte"] = bits_per_byte(loss, bytes_per_token[part])
    return metrics


def mean_bytes(tokenizer: Encoding, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the mean length of the learnt target tokens in bytes of UTF-8; see `token_loss` for the batches.

    A loss in bits divided by it is in bits per byte, by which models with different tokenizers can be compared. Only
    predicted tokens count: not a text's first one, which has none before it. `<|endoftext|>` stands for no text and has
    0 bytes, while its loss counts, as in lm-evaluation-harness. Tokens that were added have the bytes of their text.
    """
    lengths = torch.zeros(tokenizer.n_vocab, dtype=torch.long)
    added = [token.encode() for token in tokenizer.special_tokens_set - {END_OF_TEXT}]
    for token in (*tokenizer.token_byte_values(), *added):
        lengths[tokenizer.encode_single_token(token)] = len(token)
    total, count = 0, 0
    for _, targets in batches:
        learnt = targets[targets >= 0]
        total += int(lengths[learnt].sum())
        count += len(learnt)
    return total / count if total else math.nan


def bits_per_byte(loss: float, mean: float) -> float:
    """Return a loss, nats per token, in bits per byte of text, at so many bytes a token: see `mean_bytes`."""
    return loss / math.log(2) / mean


def perplexity(loss: float) -> float:
    """Return the perplexity of a loss in nats: the number of equally likely tokens that would have it.

    That of more than 700 nats, near the largest float, is 1e304.
    """
    return math.exp(min(loss, 700.0))


def samples(
    model: GPTModel,
    tokenizer: Encoding,
    prompts: Sequence[str],
    tokens: int,
    sampling: Sampling,
) -> list[dict[str, Any]]:
    """Continue every prompt greedily and by sampling.

    Args:
        tokens: tokens to add; a text that the model ends earlier is shorter.
        sampling: of the sampled continuation; the greedy one is the book's.

    Returns:
        One row per text: `prompt`, `decoding` (`greedy` or `sampled`), `text` with its prompt.

    Raises:
        InputError: for a prompt that is longer than the model's context.
    """
    rows = []
    for prompt in prompts:
        ids = encode(tokenizer, prompt)
        check_room(ids, tokens, model.config.context_length, name="evaluate.sample_prompts")
        for decoding, settings in (("greedy", GREEDY), ("sampled", sampling)):
            ending = Ending(tokenizer, settings.stop)
            (new_ids,) = generate(model, [ids], tokens, settings, eos_id=ending)
            rows.append({"prompt": prompt, "decoding": decoding, "text": prompt + ending.text_of(new_ids)})
    return rows
