"""Choosing the next token: greedy, temperature and top-k (chapter 5, section 5.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError

LOW_TEMPERATURE, LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 1e-3, 1e-30, 1e30  # as float32 can divide by them


@dataclass(frozen=True)
class Sampling:
    """Settings of the choice of the next token; greedy by default.

    Attributes:
        temperature: 0 takes the most likely token; above, the logits are divided by it and a token is drawn. Finite.
        top_k: draw among this many most likely tokens only; None: among all.
        seed: seed of the random numbers, or the generator that gives them; None: PyTorch's global generator.

    Raises:
        InputError: for a value out of range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    seed: int | torch.Generator | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            raise InputError(f"temperature: expected a finite number from 0 on, found {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k: expected at least 1, found {self.top_k}")

    def generator(self, device: torch.device) -> torch.Generator | None:
        """Return the generator of the random numbers; None stands for PyTorch's global one."""
        if self.seed is None or isinstance(self.seed, torch.Generator):
            return self.seed
        return torch.Generator(device=device).manual_seed(self.seed)

    def started(self, device: torch.device) -> Sampling:
        """Return the settings for a run of draws: with a generator, which goes on from draw to draw, for the seed."""
        return replace(self, seed=self.generator(device))


GREEDY = Sampling()
"""Always the most likely token."""


def keep_top_k(logits: Tensor, top_k: int) -> Tensor:
    """Return logits `[batch, vocab_size]` in which all but each row's `top_k` largest are minus infinity.

    Exactly `top_k` are kept, also where several share the smallest kept value.
    """
    values, ids = torch.topk(logits, min(top_k, logits.shape[-1]), dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, ids, values)


def next_token(logits: Tensor, sampling: Sampling = GREEDY) -> Tensor:
    """Choose one token id per row, `[batch]`, from logits `[batch, vocab_size]`.

    A seed starts anew at every call; see `Sampling.started`.
    """
    if sampling.temperature <= 0.0:
        return torch.argmax(logits, dim=-1)
    probabilities = token_probabilities(logits, sampling)
    generator = sampling.generator(logits.device)
    return torch.multinomial(probabilities, num_samples=1, generator=generator).squeeze(-1)


def token_probabilities(logits: Tensor, sampling: Sampling = GREEDY) -> Tensor:
    """Return the probabilities that `next_token` draws from, `[batch, vocab_size]`.

    At temperature 0, where nothing is drawn, they are the model's own.
    """
    if sampling.temperature <= 0.0:
        return torch.softmax(logits, dim=-1)
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.temperature < LOW_TEMPERATURE:  # the quotients would overflow; nearly all are the most likely token
        logits = logits - logits.amax(dim=-1, keepdim=True)
    return torch.softmax(logits / min(max(sampling.temperature, LOWEST_TEMPERATURE), HIGHEST_TEMPERATURE), dim=-1)
