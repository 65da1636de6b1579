"""The companion's cache: keys and values of each layer as a pair that grows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of the tokens so far, each `[batch, n_heads, tokens, head_dim]`."""


class KVCache:
    """One pair of keys and values per layer, None while empty.

    It can stand wherever the model takes a `gpt_from_scratch.model.KVCache`, which allocates its memory once.
    """

    places: None = None
    """All rows have the same length."""

    def __init__(self, n_layers: int) -> None:
        self.cache: list[KeysValues | None] = [None] * n_layers

    def get(self, layer_idx: int) -> KeysValues | None:
        """Return a layer's pair."""
        return self.cache[layer_idx]

    def update(self, layer_idx: int, value: KeysValues | None) -> None:
        """Replace a layer's pair."""
        self.cache[layer_idx] = value

    def get_all(self) -> list[KeysValues | None]:
        """Return all layers' pairs."""
        return self.cache

    def reset(self) -> None:
        """Forget everything."""
        self.cache[:] = [None] * len(self.cache)

    @property
    def length(self) -> int:
        """Tokens stored so far."""
        return 0 if self.cache[0] is None else self.cache[0][0].shape[2]

    @property
    def layers(self) -> list[GrowingLayer]:
        """The layers as the model's attention fills them."""
        return [GrowingLayer(self, layer_idx) for layer_idx in range(len(self.cache))]


@dataclass(frozen=True)
class GrowingLayer:
    """One layer of a cache; stands where `MultiHeadAttention` takes a `LayerCache`."""

    cache: KVCache
    layer_idx: int
    visible: None = None

    def append(self, keys: Tensor, values: Tensor) -> KeysValues:
        """Store the new tokens' keys and values and return those of all tokens so far."""
        earlier = self.cache.get(self.layer_idx)
        if earlier is not None:
            keys, values = torch.cat([earlier[0], keys], dim=2), torch.cat([earlier[1], values], dim=2)
        self.cache.update(self.layer_idx, (keys, values))
        return keys, values
