"""The decoding loop: a batch of prompts in, one token per prompt and pass out (chapters 4 and 5).

Prompts of unequal length are padded on the left; positions count from each row's first real token and no token
sees the padding, so every row's result is the one it has alone. While a sequence fits the model's context its keys
and values are kept; past it the book's rule holds, the last `context_size` tokens are seen anew at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation.sampling import next_token
from gpt_from_scratch.model import GPTModel, KVCache


class _Batch:
    """Left-padded token ids, `[batch, tokens]`, and how many pads each row begins with, `[batch]`."""

    def __init__(self, prompts: Sequence[Sequence[int]], device: torch.device) -> None:
        longest = max(len(prompt) for prompt in prompts)
        pads = [longest - len(prompt) for prompt in prompts]
        rows = [[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        self.ids = torch.tensor(rows, device=device)
        self.pads = torch.tensor(pads, device=device)
        self.ragged = any(pads)

    def positions(self, start: int, end: int) -> Tensor:
        columns = torch.arange(start, end, device=self.ids.device)
        return (columns[None, :] - self.pads[:, None]).clamp(min=0)

    def visible(self, start: int, end: int) -> Tensor:
        """True where the tokens in columns `start:end` may look; a pad sees itself, so that no row is empty."""
        columns = torch.arange(end, device=self.ids.device)
        queries = columns[start:end]
        causal = columns[None, :] <= queries[:, None]
        real = columns[None, None, :] >= self.pads[:, None, None]
        itself = columns[None, :] == queries[:, None]
        return ((causal & real) | itself)[:, None]

    def window(self, size: int) -> _Batch:
        """Return the last `size` columns as a batch of their own."""
        tail = object.__new__(_Batch)
        tail.ids = self.ids[:, -size:]
        tail.pads = (self.pads - (self.ids.shape[1] - tail.ids.shape[1])).clamp(min=0)
        tail.ragged = self.ragged
        return tail


def _last_logits(model: nn.Module, batch: _Batch, cache: KVCache | None) -> Tensor:
    """Return the logits `[batch, vocab_size]` after the last token, computing only what the cache lacks."""
    start, end = 0 if cache is None else cache.length, batch.ids.shape[1]
    ids = batch.ids[:, start:]
    if not isinstance(model, GPTModel):
        if batch.ragged:
            raise InputError("prompts of unequal length need a GPTModel: other models have no attention mask")
        return model(ids)[:, -1]
    extra = {"positions": batch.positions(start, end), "visible": batch.visible(start, end)} if batch.ragged else {}
    return model.out_head(model.hidden_states(ids, cache, **extra)[:, -1])


@torch.no_grad()
def decode(
    model: nn.Module,
    prompts: Sequence[Sequence[int]] | Tensor,
    max_new_tokens: int,
    *,
    context_size: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
) -> Iterator[Tensor]:
    """Yield the next token of every row, `[batch]`, up to `max_new_tokens` times.

    Args:
        model: a `GPTModel`, or any module that maps ids `[batch, tokens]` to logits `[batch, tokens, vocab_size]`.
        prompts: token ids, one non-empty sequence per row; a tensor `[batch, tokens]` must lie where the model does.
        context_size: most tokens the model sees at once; a `GPTModel`'s context length if None.
        temperature, top_k, generator: see `next_token`.
        use_cache: keep keys and values between tokens. Needs a `GPTModel` without active dropout.

    Raises:
        InputError: for an empty prompt, or a model whose context size is not known.
    """
    if isinstance(prompts, Tensor):
        device, prompts = prompts.device, prompts.tolist()
    else:
        device = next(model.parameters()).device
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise InputError("prompt: expected at least one token, found none")
    is_gpt = isinstance(model, GPTModel)
    if context_size is None:
        if not is_gpt:
            raise InputError(f"context_size: needed for a {type(model).__name__}")
        context_size = model.config.context_length
    batch = _Batch(prompts, device)
    longest = batch.ids.shape[1] + max_new_tokens - 1
    cache = None
    if use_cache and is_gpt and not model.training and batch.ids.shape[1] <= context_size:
        capacity = min(longest, context_size)
        cache = KVCache(model.config, len(prompts), capacity, device, model.tok_emb.weight.dtype)
    for _ in range(max_new_tokens):
        if batch.ids.shape[1] > context_size:
            cache = None
        chosen = next_token(_last_logits(model, batch.window(context_size), cache), temperature, top_k, generator)
        batch.ids = torch.cat([batch.ids, chosen[:, None]], dim=1)
        yield chosen


def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]] | Tensor,
    max_new_tokens: int,
    *,
    eos_id: int | None = None,
    context_size: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
) -> list[list[int]]:
    """Continue every prompt and return the new token ids of each row, without `eos_id` and what follows it.

    Arguments as in `decode`. Decoding ends early when every row has produced `eos_id`.
    """
    steps: list[Tensor] = []
    finished = torch.zeros(len(prompts), dtype=torch.bool)
    for chosen in decode(
        model,
        prompts,
        max_new_tokens,
        context_size=context_size,
        temperature=temperature,
        top_k=top_k,
        generator=generator,
        use_cache=use_cache,
    ):
        steps.append(chosen)
        if eos_id is not None:
            finished |= (chosen == eos_id).cpu()
            if finished.all():
                break
    if not steps:
        return [[] for _ in prompts]
    rows = torch.stack(steps, dim=1).tolist()
    return [row[: row.index(eos_id)] if eos_id in row else row for row in rows]
