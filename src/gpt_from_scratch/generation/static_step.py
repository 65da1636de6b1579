"""One decoding step whose shapes never change, which a GPU records once and then replays as a whole.

Launching the kernels of a small model one by one takes longer than running them; a recorded CUDA graph is one launch.
The price is that attention always goes over the cache's whole capacity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gpt_from_scratch.model import GPTModel, KVCache


class StaticStep:
    """Maps the last token of each row and its place to the logits of the next.

    Args:
        model: the model, in evaluation mode.
        cache: keys and values of all tokens before; on a GPU it must stay where it is.
    """

    def __init__(self, model: GPTModel, cache: KVCache) -> None:
        batch, device = len(cache.layers[0].keys), model.device
        self._model = model
        self._cache = cache
        self._tokens = torch.zeros(batch, 1, dtype=torch.long, device=device)
        self._places = torch.zeros(batch, dtype=torch.long, device=device)
        self._columns = torch.arange(cache.capacity, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits: Tensor | None = None

    def __call__(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Return the logits `[batch, vocab_size]`; on a GPU the next call writes over them.

        Args:
            tokens: the last token of each row, `[batch, 1]`.
            places: where in its row it stands, `[batch]`; a tensor of one entry holds for all rows.
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
        visible = (self._columns <= self._places[:, None])[:, None, None]
        hidden = self._model.hidden_states(self._tokens, self._cache, self._places[:, None], visible)
        return self._model.out_head(hidden[:, -1])

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
