"""Causal multi-head attention (chapter 3, section 3.6), with two interchangeable kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt_from_scratch.model.config import Kernels
from gpt_from_scratch.model.fast_path import PLAIN, FastPath, attend
from gpt_from_scratch.model.kv_cache import LayerCache
from gpt_from_scratch.model.linear import Linear


def causal_mask(n_queries: int, n_keys: int, device: torch.device) -> Tensor:
    """Return the causal mask `[n_queries, n_keys]`, True where a query sees a key.

    The queries are the last `n_queries` of the `n_keys` tokens.
    """
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def explicit_attention(
    queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None, dropout: nn.Module
) -> Tensor:
    """Scaled dot-product attention step by step, as the book derives it.

    Args:
        queries: `[batch, heads, n_queries, head_dim]`, also the shape of the result.
        keys, values: `[batch, heads, n_keys, head_dim]`.
        visible: mask, broadcastable to `[batch, heads, n_queries, n_keys]`; None: every token sees all.
    """
    scores = queries @ keys.transpose(-2, -1)
    if visible is not None:
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores / keys.shape[-1] ** 0.5, dim=-1)
    return dropout(weights) @ values


def fused_attention(
    queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None, dropout_rate: float, causal: bool = True
) -> Tensor:
    """The same by PyTorch's `scaled_dot_product_attention`; causal without `visible`, if `causal`."""
    n_queries, n_keys = queries.shape[2], keys.shape[2]
    # A single query is the last token and sees everything; PyTorch's is_causal would align it to the first key.
    # Not `is_causal=n_queries == n_keys`: in code compiled for any length this is no bool, and refused.
    is_causal = False
    if visible is None and causal:
        if n_queries == n_keys:
            is_causal = True
        elif n_queries > 1:
            visible = causal_mask(n_queries, n_keys, queries.device)
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=visible, dropout_p=dropout_rate, is_causal=is_causal
    )


class MultiHeadAttention(nn.Module):
    """Multi-head attention in which no token sees a later one, unless `causal` is set to False.

    Args:
        d_in, d_out: widths of the input and output vectors; `d_out` is divisible by `num_heads`.
        context_length: longest sequence, as in the book's signature; unused, since the mask is made for each input.
        dropout: probability of dropping an attention weight.
        qkv_bias: whether the three input projections have a bias.
    """

    kernels: Kernels = "explicit"
    causal: bool = True

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int, qkv_bias: bool = False
    ) -> None:
        super().__init__()
        assert d_out % num_heads == 0, "d_out must be divisible by num_heads"
        self.d_out = d_out
        self.num_heads = num_heads
        self.head_dim = d_out // num_heads
        self.context_length = context_length
        self.W_query = Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: LayerCache | None = None, fast: FastPath = PLAIN) -> Tensor:
        """Return context vectors `[batch, tokens, d_out]` for inputs `[batch, tokens, d_in]`.

        Args:
            cache: keys and values of the tokens before these; those of `x` are appended.
            fast: the part of the work that is needed; unless given, all of it.
        """
        keys, values, queries = (
            project(tokens).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for project, tokens in ((self.W_key, x), (self.W_value, x), (self.W_query, fast.kept_tokens(x)))
        )
        return self.out_proj(attend(self._attend, queries, keys, values, cache, fast.lengths))

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
        if self.kernels == "fused":
            rate = self.dropout.p if self.training else 0.0
            return fused_attention(queries, keys, values, visible, rate, self.causal)
        if visible is None and self.causal:
            visible = causal_mask(queries.shape[2], keys.shape[2], queries.device)
        return explicit_attention(queries, keys, values, visible, self.dropout)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # The book's modules keep their causal mask as a buffer, so its .pth files hold one per layer.
        state_dict.pop(prefix + "mask", None)
        super()._load_from_state_dict(state_dict, prefix, *args)
