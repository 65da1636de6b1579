"""The book's GPT built from PyTorch's own parts (bonus of chapters 3 and 4): fewer, larger kernels.

Its state-dict keys are the companion's `GPTModelFast`'s; a `GPTModel` with `kernels="fused"` runs the same kernels
under the keys of the ordinary model.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from gpt_from_scratch.model.attention import fused_attention
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.gpt import GPTModel, TransformerBlock
from gpt_from_scratch.model.kv_cache import LayerCache
from gpt_from_scratch.model.layers import FeedForward


class PyTorchMultiHeadAttention(nn.Module):
    """Causal multi-head attention with queries, keys and values from one projection, by PyTorch's fused kernel.

    Arguments as in `MultiHeadAttention`. Without biases both draw the same initial weights under one seed.
    """

    def __init__(self, d_in: int, d_out: int, num_heads: int, dropout: float = 0.0, qkv_bias: bool = False) -> None:
        super().__init__()
        assert d_out % num_heads == 0, "d_out must be divisible by num_heads"
        self.d_out = d_out
        self.num_heads = num_heads
        self.head_dim = d_out // num_heads
        self.qkv = nn.Linear(d_in, 3 * d_out, bias=qkv_bias)
        self.proj = nn.Linear(d_out, d_out)
        self.dropout = dropout

    def forward(self, x: Tensor, cache: LayerCache | None = None, visible: Tensor | None = None) -> Tensor:
        """`[batch, tokens, d_in]` → `[batch, tokens, d_out]`; `cache` and `visible` as in `MultiHeadAttention`."""
        batch, tokens, _ = x.shape
        heads = self.qkv(x).view(batch, tokens, 3, self.num_heads, self.head_dim)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        if cache is not None:
            keys, values = cache.append(keys, values)
        context = fused_attention(queries, keys, values, visible, self.dropout if self.training else 0.0)
        return self.proj(context.transpose(1, 2).reshape(batch, tokens, self.d_out))


class FeedForwardFast(FeedForward):
    """The feed-forward network with PyTorch's GELU."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__(_fused(cfg))


class TransformerBlockFast(TransformerBlock):
    """The transformer block with one projection for queries, keys and values, and PyTorch's layer norm."""

    def __init__(self, cfg: GPTConfig) -> None:
        nn.Module.__init__(self)  # not the parent's: its parts would draw random numbers, only to be replaced
        cfg = _fused(cfg)
        self.att = PyTorchMultiHeadAttention(cfg.emb_dim, cfg.emb_dim, cfg.n_heads, cfg.drop_rate, cfg.qkv_bias)
        self.ff = FeedForwardFast(cfg)
        self.norm1 = nn.LayerNorm(cfg.emb_dim)
        self.norm2 = nn.LayerNorm(cfg.emb_dim)
        self.drop_resid = nn.Dropout(cfg.drop_rate)


class GPTModelFast(GPTModel):
    """The GPT model from these parts."""

    block_class = TransformerBlockFast
    norm_class = nn.LayerNorm

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__(_fused(cfg))


def _fused(cfg: GPTConfig) -> GPTConfig:
    return replace(GPTConfig.of(cfg), kernels="fused")
