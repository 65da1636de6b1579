"""Rows of tokens that grow side by side, and the logits after each.

Rows of unequal length begin in the same column and are padded on the right, where no real token looks, so every row's
result is the one it has alone, up to rounding. While all rows fit the model's context their keys and values are kept;
past it, as in the book, the last `context_size` tokens of each row are recomputed at every step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation.sampling import penalise_repetition
from gpt_from_scratch.generation.static_step import StaticStep
from gpt_from_scratch.model import GPTModel, KVCache

STEPS_BEFORE_STATIC = {"cuda": 16}
"""Number of steps with the same rows before a `StaticStep` takes over, by type of device; on others it never does.

Recording a step for a GPU takes as long as some tens of steps.
"""


class Rows:
    """A changing number of sequences.

    Args:
        model: a `GPTModel`, or any module that maps ids `[batch, tokens]` to logits `[batch, tokens, vocab_size]`.
        size: maximum number of rows at a time.
        longest: maximum number of tokens in a row.
        context_size: maximum number of tokens that the model sees.
        use_cache: keep keys and values between steps. Needs a `GPTModel` without active dropout.
        device: device of the model.

    Attributes:
        lengths: number of tokens in each row.
    """

    def __init__(
        self, model: nn.Module, size: int, longest: int, context_size: int, use_cache: bool, device: torch.device
    ) -> None:
        self.lengths: list[int] = []
        self.device = device
        self._model = model
        self._context_size = context_size
        self._ids = torch.zeros(size, longest, dtype=torch.long, device=device)
        self._cache: KVCache | None = None
        if use_cache and isinstance(model, GPTModel) and not model.training:
            # The last token that a row gets is never read, hence one less.
            capacity = max(1, min(longest - 1, context_size))
            self._cache = KVCache(model.config, size, capacity, device, model.tok_emb.weight.dtype)
        self._active: KVCache | None = None
        self._static: StaticStep | None = None
        self._steps = 0
        self._unknown = torch.tensor(getattr(model, "unknown_ids", ()), dtype=torch.long, device=device)

    def admit(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Add rows at the end; return the logits after the last token of each, `[new rows, vocab_size]`."""
        start = len(self.lengths)
        for row, prompt in enumerate(prompts, start):
            self._ids[row, : len(prompt)] = torch.tensor(prompt, device=self.device)
        self.lengths += [len(prompt) for prompt in prompts]
        self._rows_changed()
        return self._known(self._recomputed(start))

    def append(self, tokens: Tensor, start: int = 0) -> None:
        """Add one token to each row from `start` on; `tokens` is `[rows]`."""
        lengths = self.lengths[start:]
        if _equal(lengths):
            self._ids[start : start + len(lengths), lengths[0]] = tokens
        else:
            places = torch.tensor(lengths, device=tokens.device)
            self._ids[start : start + len(lengths)].scatter_(1, places[:, None], tokens[:, None])
        self.lengths[start:] = [length + 1 for length in lengths]

    def logits(self) -> Tensor:
        """Return the logits after the last token of every row, `[rows, vocab_size]`.

        With a cache, this token alone goes through the model.
        """
        return self._known(self._next_logits())

    def penalised(self, logits: Tensor, penalty: float, start: int = 0) -> Tensor:
        """Return the logits of the rows from `start` on with the tokens penalised that each row has; 1: as they are."""
        if penalty == 1.0:
            return logits
        lengths = torch.tensor(self.lengths[start:], device=self.device)[:, None]
        ids = self._ids[start : len(self.lengths), : max(self.lengths[start:])]
        own = torch.arange(ids.shape[1], device=self.device) < lengths
        return penalise_repetition(logits, torch.where(own, ids, ids[:, :1]), penalty)  # a row's padding is its first

    def _known(self, logits: Tensor) -> Tensor:
        """Return logits under which no id is chosen that the model's tokenizer lacks."""
        return logits.index_fill(-1, self._unknown, -torch.inf) if len(self._unknown) else logits

    def _next_logits(self) -> Tensor:
        count, longest = len(self.lengths), max(self.lengths)
        if self._cache is None or longest > self._context_size:
            return self._recomputed(0)
        if self._active is None:
            self._active = self._cache.rows(0, count)
        self._steps += 1
        equal = _equal(self.lengths)
        if equal:
            places = torch.tensor([longest - 1], device=self.device)
            last = self._ids[:count, longest - 1 : longest]
        else:
            places = torch.tensor(self.lengths, device=self.device) - 1
            last = self._ids[:count].gather(1, places[:, None])
        if self._steps > STEPS_BEFORE_STATIC.get(self.device.type, math.inf):
            self._static = self._static or StaticStep(self._model, self._active)
            return self._static(last, places)
        self._active.seek(longest - 1, None if equal else places)
        return self._model.out_head(self._model.hidden_states(last, self._active)[:, -1])

    def drop(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        last = len(self.lengths) - 1
        length = self.lengths[last]
        if row != last:
            self._ids[row, :length] = self._ids[last, :length]
            if self._cache is not None:
                self._cache.copy_row(last, row, length)
        self.lengths[row] = length
        self.lengths.pop()
        self._rows_changed()

    def tokens(self, row: int, start: int) -> list[int]:
        """Return a row's token ids from index `start` on."""
        return self._ids[row, start : self.lengths[row]].tolist()

    def _rows_changed(self) -> None:
        self._active = self._static = None
        self._steps = 0

    def _recomputed(self, start: int) -> Tensor:
        """Return the logits after the rows from `start` on, all of whose tokens in the context go through the model."""
        lengths, size = self.lengths[start:], self._context_size
        ids, width = self._ids[start : start + len(lengths)], min(max(lengths), size)
        ends = torch.tensor(lengths, device=self.device) - 1
        if max(lengths) > size:
            self._cache = None  # from here on every token's position changes with every step
            first = (ends + 1 - size).clamp(min=0)
            ids, ends = ids.gather(1, first[:, None] + torch.arange(width, device=self.device)), ends - first
        ids = ids[:, :width]
        if isinstance(self._model, GPTModel):
            cache = None if self._cache is None else self._cache.rows(start, start + len(lengths))
            hidden = self._model.hidden_states(ids, cache)
            return self._model.out_head(hidden[torch.arange(len(lengths), device=self.device), ends])
        if not _equal(lengths):
            raise InputError("prompts of unequal length need a GPTModel: other models have no attention mask")
        return self._model(ids)[:, -1]


def _equal(lengths: Sequence[int]) -> bool:
    return len(set(lengths)) == 1
