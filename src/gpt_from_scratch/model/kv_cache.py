"""Keys and values of the tokens already seen, so that generating one token computes one token."""

from __future__ import annotations

import torch
from torch import Tensor

from gpt_from_scratch.model.config import GPTConfig


class LayerCache:
    """One layer's keys and values, each `[batch, n_heads, capacity, head_dim]`, filled from the left."""

    def __init__(self, shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype) -> None:
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values and return those of all tokens so far."""
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class KVCache:
    """Preallocated keys and values for every layer of a model.

    Args:
        cfg: the model's configuration.
        batch_size: rows decoded together.
        capacity: most tokens a row will have; at most the model's context length.
    """

    def __init__(
        self, cfg: GPTConfig, batch_size: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (batch_size, cfg.n_heads, capacity, cfg.head_dim)
        self.layers = [LayerCache(shape, device, dtype) for _ in range(cfg.n_layers)]
        self.capacity = capacity

    @property
    def length(self) -> int:
        """Tokens stored so far."""
        return self.layers[0].length
