"""Choosing the next token: greedy, temperature and top-k (chapter 5, section 5.3); top-p, min-p, repetition penalty.

The last three are those of Hugging Face's `transformers`, in its order: the penalty on the logits, then temperature,
top-k, top-p and min-p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError, shown

LOW_TEMPERATURE, LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 1e-3, 1e-30, 1e30  # as float32 can divide by them
PENALTIES = 0.01, 100.0
"""Lowest and highest repetition penalty."""


@dataclass(frozen=True)
class Sampling:
    """Settings of the choice of the next token, and of where a text ends; greedy by default.

    Attributes:
        temperature: 0 takes the most likely token; above, the logits are divided by it and a token is drawn. Finite.
        top_k: draw among this many most likely tokens only; None: among all.
        seed: seed of the random numbers, or the generator that gives them; None: PyTorch's global generator.
        top_p: draw among the fewest most likely tokens that together have this probability; 1: among all.
        min_p: draw among tokens at least this times as likely as the most likely one; 0: among all.
        repetition_penalty: logits of the tokens that a row has, its prompt's included, are divided by it if positive
            and multiplied by it if negative, at temperature 0 too; 1: left alone; below 1: repetition is rewarded.
        stop: texts that end the generation and are no part of it. What decodes text looks for them; `generate` and
            `generate_each`, which see ids alone, are given an `Ending`.

    Raises:
        InputError: for a value out of range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    seed: int | torch.Generator | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            raise InputError(f"temperature: expected a finite number from 0 on, found {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k: expected at least 1, found {self.top_k}")
        for name, low, high in (("top_p", 0, 1), ("min_p", 0, 1), ("repetition_penalty", *PENALTIES)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name}: expected {low} to {high}, found {getattr(self, name)}")
        for text in self.stop:
            if not text or text != text.encode(errors="ignore").decode():
                raise InputError(f"stop: expected Unicode texts of at least one character, found {shown(text)}")

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


def keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Return logits in which all but each row's fewest largest of probability `top_p` are minus infinity."""
    ordered, ids = torch.sort(logits, dim=-1, stable=True)
    shares = torch.softmax(ordered, dim=-1)
    # On CUDA, sums of floats as they grow have no deterministic algorithm, and PyTorch refuses them where one is asked.
    shares = shares.cpu() if torch.are_deterministic_algorithms_enabled() else shares
    removed = shares.cumsum(dim=-1).to(logits.device) <= 1 - top_p
    removed[..., -1] = False
    return logits.masked_fill(removed.scatter(-1, ids, removed), -torch.inf)


def keep_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Return logits in which those of less than `min_p` times each row's largest probability are minus infinity."""
    shares = torch.softmax(logits, dim=-1)
    return logits.masked_fill(shares < min_p * shares.amax(dim=-1, keepdim=True), -torch.inf)


def penalise_repetition(logits: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Return logits `[batch, vocab_size]` in which those of each row's `ids`, `[batch, any number]`, are penalised."""
    found = logits.gather(-1, ids)
    return logits.scatter(-1, ids, torch.where(found < 0, found * penalty, found / penalty))


def next_token(logits: Tensor, sampling: Sampling = GREEDY) -> Tensor:
    """Choose one token id per row, `[batch]`, from logits `[batch, vocab_size]`, which are penalised already.

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
    logits = logits / min(max(sampling.temperature, LOWEST_TEMPERATURE), HIGHEST_TEMPERATURE)
    if sampling.top_p < 1.0:
        logits = keep_top_p(logits, sampling.top_p)
    if sampling.min_p > 0.0:
        logits = keep_min_p(logits, sampling.min_p)
    return torch.softmax(logits, dim=-1)
