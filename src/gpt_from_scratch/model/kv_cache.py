"""KV cache: keys and values of the tokens so far, so that each new token is computed once."""

from __future__ import annotations

import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.config import GPTConfig


class LayerCache:
    """One layer's keys and values, each `[batch, n_heads, capacity, head_dim]`, filled from the left.

    Attributes:
        length: tokens before the next ones; of the longest row where rows differ.
        places: index of the next token of each row, `[batch]`, where rows differ in length; otherwise None.
        visible: mask of the keys that the next tokens see, `[batch, 1, 1, tokens]`; None: all that come before.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys
        self.values = values
        self.length = 0
        self.places: Tensor | None = None
        self.visible: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values and return those of all tokens so far.

        With `places` there is one new token a row, and what stands behind a shorter row's tokens is not `visible`.
        """
        end = self.length + keys.shape[2]
        if self.places is None:
            self.keys[:, :, self.length : end] = keys
            self.values[:, :, self.length : end] = values
        else:
            rows = torch.arange(len(self.places), device=self.places.device)
            self.keys[rows, :, self.places] = keys[:, :, 0]
            self.values[rows, :, self.places] = values[:, :, 0]
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class KVCache:
    """Preallocated keys and values for every layer of a model.

    Args:
        cfg: the model's configuration.
        batch_size: number of rows decoded together.
        capacity: maximum number of tokens in a row; at most the model's context length.

    Raises:
        InputError: for a model that is not causal, since its keys and values change with every later token.
    """

    def __init__(
        self, cfg: GPTConfig, batch_size: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        if not cfg.causal:
            raise InputError("KV cache: expected a causal model, found one whose tokens see later tokens")
        shape = (batch_size, cfg.n_heads, capacity, cfg.head_dim)
        # Not torch.empty: a masked key has the weight 0, and 0 times a stray infinity or NaN would not be 0.
        self.layers = [
            LayerCache(*(torch.zeros(shape, device=device, dtype=dtype) for _ in range(2))) for _ in range(cfg.n_layers)
        ]
        self.capacity = capacity
        self._columns = torch.arange(capacity, device=device)

    @property
    def length(self) -> int:
        """Number of tokens stored so far."""
        return self.layers[0].length

    @property
    def places(self) -> Tensor | None:
        """Index of the next token of each row, `[batch]`, where rows differ in length; otherwise None."""
        return self.layers[0].places

    def rows(self, start: int, end: int) -> KVCache:
        """Return an empty cache in the memory of the rows `start:end` of this one."""
        part = object.__new__(KVCache)
        part.layers = [LayerCache(layer.keys[start:end], layer.values[start:end]) for layer in self.layers]
        part.capacity, part._columns = self.capacity, self._columns
        return part

    def seek(self, length: int, places: Tensor | None = None) -> None:
        """Set where the next tokens go; see `LayerCache`. A row with a place sees all up to that place."""
        visible = None
        if places is not None:
            visible = (self._columns[: length + 1] <= places[:, None])[:, None, None]
        for layer in self.layers:
            layer.length, layer.places, layer.visible = length, places, visible

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one row over those of another."""
        for layer in self.layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]
