"""The book's GPT built from PyTorch's own parts (bonus of chapters 3 and 4): fewer, larger kernels.

Its state-dict keys are those of the companion's `GPTModelFast`; a `GPTModel` with `kernels="fused"` runs the same
kernels under the keys of the ordinary model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from gpt_from_scratch.model.attention import MultiHeadAttention, fused_attention
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.fast_path import PLAIN, FastPath, attend
from gpt_from_scratch.model.gpt import GPTModel, TransformerBlock
from gpt_from_scratch.model.kv_cache import LayerCache
from gpt_from_scratch.model.layers import FeedForward
from gpt_from_scratch.model.linear import Linear


class PyTorchMultiHeadAttention(nn.Module):
    """Multi-head attention by PyTorch's fused kernel, with one projection for queries, keys and values.

    Arguments and `causal` as in `MultiHeadAttention`. Without biases both draw the same initial weights under one seed.
    """

    causal: bool = True

    def __init__(self, d_in: int, d_out: int, num_heads: int, dropout: float = 0.0, qkv_bias: bool = False) -> None:
        super().__init__()
        assert d_out % num_heads == 0, "d_out must be divisible by num_heads"
        self.d_out = d_out
        self.num_heads = num_heads
        self.head_dim = d_out // num_heads
        self.qkv = Linear(d_in, 3 * d_out, bias=qkv_bias)
        self.proj = Linear(d_out, d_out)
        self.dropout = dropout

    def forward(self, x: Tensor, cache: LayerCache | None = None, fast: FastPath = PLAIN) -> Tensor:
        """`[batch, tokens, d_in]` → `[batch, tokens, d_out]`; `cache` and `fast` as in `MultiHeadAttention`."""
        heads = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        if fast.last_only:
            queries = fast.kept_tokens(queries.transpose(1, 2)).transpose(1, 2)
        kernel = partial(fused_attention, dropout_rate=self.dropout if self.training else 0.0, causal=self.causal)
        return self.proj(attend(kernel, queries, keys, values, cache, fast.lengths))


def with_one_projection(attention: MultiHeadAttention) -> PyTorchMultiHeadAttention:
    """Return the same attention with one input projection, a copy of its three."""
    parts = [attention.W_query, attention.W_key, attention.W_value]
    width, biased = attention.W_query.in_features, attention.W_query.bias is not None
    with torch.device("meta"):  # no random numbers for weights that are replaced
        merged = PyTorchMultiHeadAttention(width, attention.d_out, attention.num_heads, attention.dropout.p, biased)
    merged.qkv.weight = nn.Parameter(torch.cat([part.weight.detach() for part in parts]))
    if biased:
        merged.qkv.bias = nn.Parameter(torch.cat([part.bias.detach() for part in parts]))
    merged.proj = attention.out_proj
    merged.causal = attention.causal
    return merged.train(attention.training)


class FeedForwardFast(FeedForward):
    """The feed-forward network with PyTorch's GELU."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__(_fused(cfg))


class TransformerBlockFast(TransformerBlock):
    """The transformer block with one projection for queries, keys and values, and PyTorch's layer norm."""

    def __init__(self, cfg: GPTConfig) -> None:
        nn.Module.__init__(self)  # not the parent's: its parts would draw random numbers, only to be replaced
        cfg = _fused(cfg)
        self.att = PyTorchMultiHeadAttention(cfg.emb_dim, cfg.emb_dim, cfg.n_heads, cfg.drop_rates.attn, cfg.qkv_bias)
        self.att.causal = cfg.causal
        self.ff = FeedForwardFast(cfg)
        self.norm1 = nn.LayerNorm(cfg.emb_dim)
        self.norm2 = nn.LayerNorm(cfg.emb_dim)
        self.drop_resid = nn.Dropout(cfg.drop_rates.shortcut)


class GPTModelFast(GPTModel):
    """The GPT model of these parts."""

    block_class = TransformerBlockFast
    norm_class = nn.LayerNorm

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__(_fused(cfg))


def _fused(cfg: GPTConfig) -> GPTConfig:
    return replace(GPTConfig.of(cfg), kernels="fused")
