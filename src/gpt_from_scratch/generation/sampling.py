"""Choosing the next token: greedy, temperature and top-k (chapter 5, section 5.3)."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_top_k(logits: Tensor, top_k: int) -> Tensor:
    """Return logits `[batch, vocab_size]` in which all but each row's `top_k` largest are minus infinity.

    Exactly `top_k` survive, also where several share the smallest kept value.
    """
    values, ids = torch.topk(logits, min(top_k, logits.shape[-1]), dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, ids, values)


def next_token(
    logits: Tensor, temperature: float = 0.0, top_k: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Choose one token id per row.

    Args:
        logits: `[batch, vocab_size]`.
        temperature: 0 takes the most likely token; above, the logits are divided by it and a token is drawn.
        top_k: draw among this many most likely tokens only.
        generator: where the random numbers come from; PyTorch's global generator if None.

    Returns:
        Token ids, `[batch]`.
    """
    if temperature <= 0.0:
        return torch.argmax(logits, dim=-1)
    probabilities = token_probabilities(logits, temperature, top_k)
    return torch.multinomial(probabilities, num_samples=1, generator=generator).squeeze(-1)


def token_probabilities(logits: Tensor, temperature: float = 0.0, top_k: int | None = None) -> Tensor:
    """Return what `next_token` draws from, `[batch, vocab_size]`; at temperature 0, what the model itself says."""
    if temperature <= 0.0:
        return torch.softmax(logits, dim=-1)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    return torch.softmax(logits / temperature, dim=-1)
