"""The companion's GPT with a key-value cache, as covers of the model's own parts.

What `llms_from_scratch` 1.0.19 lacks is here: `cfg`, `reset_kv_cache`, and a cache that is filled whenever one is
passed. Positions follow from what the cache holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from torch import Tensor

from gpt_from_scratch import model
from gpt_from_scratch.book.kv_cache.utils import GrowingLayer, KeysValues, KVCache
from gpt_from_scratch.model import GELU, FeedForward, GPTConfig, LayerNorm

__all__ = ["GELU", "FeedForward", "GPTModel", "KVCache", "LayerNorm", "MultiHeadAttention", "TransformerBlock"]


class MultiHeadAttention(model.MultiHeadAttention):
    """Multi-head attention that takes and gives back keys and values."""

    def forward(
        self, x: Tensor, use_cache: bool = False, start_pos: int = 0, cache: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues | None]:
        """Return the context vectors `[batch, tokens, d_out]` and the keys and values of all tokens so far.

        Args:
            use_cache: give back keys and values; None otherwise. Passing a `cache` means it too.
            start_pos: kept for the signature; how many tokens came before follows from `cache`.
            cache: keys and values of the tokens before `x`.
        """
        return _with_pair(super().forward, x, use_cache, cache)


class TransformerBlock(model.TransformerBlock):
    """Transformer block that takes and gives back its attention's keys and values."""

    def forward(
        self, x: Tensor, use_cache: bool = False, start_pos: int = 0, cache: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues | None]:
        """`[batch, tokens, emb_dim]` → the same shape, and keys and values as in `MultiHeadAttention`."""
        return _with_pair(super().forward, x, use_cache, cache)


class GPTModel(model.GPTModel):
    """The GPT model with the companion's way of handing it a cache.

    Attributes:
        cfg: the configuration as a dictionary.
        kv_cache: what `use_cache` fills when no cache is passed.
        current_pos: position of the next token after the last call with a cache.
    """

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__(cfg)
        self.cfg = asdict(self.config)
        self.kv_cache = KVCache(self.config.n_layers)
        self.current_pos = 0

    def forward(self, in_idx: Tensor, use_cache: bool = False, cache: KVCache | None = None) -> Tensor:
        """Return logits `[batch, tokens, vocab_size]` for token ids `[batch, tokens]` that follow those in the cache.

        Args:
            use_cache: continue and extend the model's own cache, which `reset_kv_cache` empties.
            cache: continue and extend this one instead.

        Raises:
            InputError: when the sequence grows longer than the model's context.
        """
        if cache is None and use_cache:
            cache = self.kv_cache
        logits = super().forward(in_idx, cache)
        if cache is not None:
            self.current_pos = cache.length
        return logits

    def reset_kv_cache(self) -> None:
        """Forget the tokens seen so far."""
        self.kv_cache.reset()
        self.current_pos = 0


def _with_pair(
    forward: Callable[[Tensor, GrowingLayer | None], Tensor], x: Tensor, use_cache: bool, pair: KeysValues | None
) -> tuple[Tensor, KeysValues | None]:
    if pair is None and not use_cache:
        return forward(x, None), None
    cache = KVCache(1)
    cache.update(0, pair)
    return forward(x, cache.layers[0]), cache.get(0)
