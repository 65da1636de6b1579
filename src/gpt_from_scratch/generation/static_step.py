"""A decoding step of constant shapes, which a GPU records as a CUDA graph once and then replays.

Launching the kernels of a small model one by one takes longer than running them; replaying a graph is one launch. In
return, attention always goes over the cache's whole capacity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gpt_from_scratch.model import GPTModel, KVCache


class StaticStep:
    """Decoding step: the last token of each row and its index in, the logits of the next token out.

    Args:
        model: the model, in evaluation mode.
        cache: keys and values of all earlier tokens; on a GPU its memory must not move.
    """

    def __init__(self, model: GPTModel, cache: KVCache) -> None:
        batch, device = len(cache.layers[0].keys), model.device
        self._model = model
        self._cache = cache
        self._tokens = torch.zeros(batch, 1, dtype=torch.long, device=device)
        self._places = torch.zeros(batch, dtype=torch.long, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits: Tensor | None = None

    def __call__(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Return the logits `[batch, vocab_size]`; on a GPU the next call overwrites them.

        Args:
            tokens: the last token of each row, `[batch, 1]`.
            places: its index in its row, `[batch]`, or `[1]` for all rows.
        """
        self._tokens.copy_(tokens)
        self._places.copy_(places)
        if self._model.device.type != "cuda":
            return self._compute()
        if self._graph is None:
            self._record()
        self._graph.replay()
        return self._logits

    def _compute(self) -> Tensor:
        self._cache.seek(self._cache.capacity - 1, self._places)
        return self._model.out_head(self._model.hidden_states(self._tokens, self._cache)[:, -1])

    def _record(self) -> None:
        # Libraries set themselves up in their first calls, which must not be part of the recording. Every call writes
        # the same keys and values to the same places.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._compute()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = self._compute()
