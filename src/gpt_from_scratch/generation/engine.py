"""The decoding loop: prompts in, one token per row and pass out (chapters 4 and 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation.rows import Rows
from gpt_from_scratch.generation.sampling import GREEDY, Sampling, next_token
from gpt_from_scratch.generation.stopping import Ending
from gpt_from_scratch.model import GPTModel

Prompts = Sequence[Sequence[int]] | Tensor
"""Token ids, one non-empty sequence per row; a tensor `[batch, tokens]` must be on the model's device."""


def decode(
    model: nn.Module,
    prompts: Prompts,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    *,
    context_size: int | None = None,
    use_cache: bool = True,
) -> Iterator[Tensor]:
    """Yield the next token of every row, `[batch]`, up to `max_new_tokens` times.

    Args:
        model: a `GPTModel`, or any module that maps ids `[batch, tokens]` to logits `[batch, tokens, vocab_size]`.
        context_size: maximum number of tokens that the model sees; a `GPTModel`'s context length if None.
        use_cache: keep keys and values between tokens. Needs a `GPTModel` without active dropout.

    Raises:
        InputError: for an empty prompt, a model whose context size is not known, or one that is not causal.
    """
    steps = decode_steps(model, prompts, max_new_tokens, sampling, context_size=context_size, use_cache=use_cache)
    for chosen, _ in steps:
        yield chosen


def decode_steps(
    model: nn.Module,
    prompts: Prompts,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    *,
    context_size: int | None = None,
    use_cache: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the tokens of `decode`, each with the logits `[batch, vocab_size]` that it was chosen from.

    A repetition penalty is in them.
    """
    prompts, rows = _begin(model, prompts, max_new_tokens, None, context_size, use_cache)
    sampling = sampling.started(rows.device)
    for step in range(max_new_tokens):
        with torch.inference_mode():
            logits = rows.penalised(rows.logits() if step else rows.admit(prompts), sampling.repetition_penalty)
            chosen = next_token(logits, sampling)
            rows.append(chosen)
        yield chosen.clone(), logits.clone()  # ordinary tensors, which may be changed and enter an autograd graph


@torch.inference_mode()
def generate_each(
    model: nn.Module,
    prompts: Prompts,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    *,
    eos_id: int | Ending | None = None,
    batch_size: int | None = None,
    context_size: int | None = None,
    use_cache: bool = True,
) -> Iterator[tuple[int, list[int]]]:
    """Continue every prompt; yield its number and its new token ids, without `eos_id`, as soon as it has ended.

    With stop strings, the ids go on up to the token that completes one; `Ending.text_of` cuts the text before it.
    A row that has ended is computed no longer: a prompt that waits takes its place.

    Args:
        eos_id: token that ends a row, or the `Ending` that knows it and stop strings.
        batch_size: maximum number of rows at a time; all if None. Keys and values of that many rows are in memory.
            Fewer rows than prompts need a `GPTModel`, since rows that begin at different times differ in length.

    The other arguments are as in `decode`. Tokens that are drawn depend on what else is in the batch, since all rows
    draw from one generator; the most likely ones do not.
    """
    prompts, rows = _begin(model, prompts, max_new_tokens, batch_size, context_size, use_cache)
    sampling = sampling.started(rows.device)
    size = batch_size or len(prompts)
    waiting = list(enumerate(prompts))[::-1]
    ending = eos_id if isinstance(eos_id, Ending) else None
    if sampling.stop and not ending:
        raise InputError("stop: token ids alone have no text; expected an Ending with the stop strings as eos_id")
    eos_id, reach = (ending.eos_id, ending.reach) if ending else (eos_id, 0)
    if max_new_tokens < 1:
        yield from ((number, []) for number, _ in reversed(waiting))
        return
    numbers: list[int] = []

    def ended(start: int, logits: Tensor) -> Iterator[tuple[int, list[int]]]:
        """Give the rows from `start` on their next token, and drop and yield those that end with it."""
        chosen = next_token(rows.penalised(logits, sampling.repetition_penalty, start), sampling)
        rows.append(chosen, start)
        last_tokens = chosen.tolist()
        # From the back, since the last row takes the place of one that is dropped.
        for row in range(len(numbers) - 1, start - 1, -1):
            begin = len(prompts[numbers[row]])
            at_end = last_tokens[row - start] == eos_id
            stopped = reach and ending.reached(rows.tokens(row, max(begin, rows.lengths[row] - reach)))
            if at_end or stopped or rows.lengths[row] - begin == max_new_tokens:
                new = rows.tokens(row, begin)
                yield numbers[row], new[:-1] if at_end else new
                rows.drop(row)
                numbers[row] = numbers[-1]
                numbers.pop()

    while numbers or waiting:
        if numbers:
            yield from ended(0, rows.logits())
        if waiting and len(numbers) < size:
            start = len(numbers)
            admitted = [waiting.pop() for _ in range(min(size - start, len(waiting)))]
            numbers += [number for number, _ in admitted]
            yield from ended(start, rows.admit([prompt for _, prompt in admitted]))


def generate(
    model: nn.Module,
    prompts: Prompts,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    *,
    eos_id: int | Ending | None = None,
    context_size: int | None = None,
    use_cache: bool = True,
) -> list[list[int]]:
    """Continue all prompts together and return the new token ids of each; arguments as in `generate_each`."""
    ended = generate_each(
        model, prompts, max_new_tokens, sampling, eos_id=eos_id, context_size=context_size, use_cache=use_cache
    )
    return [new for _, new in sorted(ended)]


def _begin(
    model: nn.Module,
    prompts: Prompts,
    max_new_tokens: int,
    batch_size: int | None,
    context_size: int | None,
    use_cache: bool,
) -> tuple[Sequence[Sequence[int]], Rows]:
    """Return the prompts as lists, and rows for `batch_size` of them."""
    if isinstance(prompts, Tensor):
        device, prompts = prompts.device, prompts.tolist()
    else:
        device = next(model.parameters()).device
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise InputError("prompt: expected at least one token, found none")
    if isinstance(model, GPTModel) and not model.config.causal:
        raise InputError("model: expected a causal one to write with, found one whose tokens see later tokens")
    if context_size is None:
        if not isinstance(model, GPTModel):
            raise InputError(f"context_size: needed for a {type(model).__name__}")
        context_size = model.config.context_length
    size = min(batch_size or len(prompts), len(prompts))
    longest = max(len(prompt) for prompt in prompts) + max_new_tokens
    return prompts, Rows(model, size, longest, context_size, use_cache, device)
