"""The book's intermediate steps on the way to the GPT model (chapters 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from gpt_from_scratch.model.attention import explicit_attention
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.model.layers import GELU


class SelfAttention_v1(nn.Module):
    """Self-attention with bare weight matrices (section 3.4.2). `[..., tokens, d_in]` → `[..., tokens, d_out]`."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.W_query = nn.Parameter(torch.rand(d_in, d_out))
        self.W_key = nn.Parameter(torch.rand(d_in, d_out))
        self.W_value = nn.Parameter(torch.rand(d_in, d_out))

    def forward(self, x: Tensor) -> Tensor:
        return explicit_attention(x @ self.W_query, x @ self.W_key, x @ self.W_value, None, nn.Identity())


class SelfAttention_v2(nn.Module):
    """The same with linear layers, whose initial weights suit training better (section 3.4.2)."""

    def __init__(self, d_in: int, d_out: int, qkv_bias: bool = False) -> None:
        super().__init__()
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)

    def forward(self, x: Tensor) -> Tensor:
        return explicit_attention(self.W_query(x), self.W_key(x), self.W_value(x), None, nn.Identity())


class CausalAttention(SelfAttention_v2):
    """Causal self-attention with dropout (section 3.5).

    `[batch, tokens, d_in]` → `[batch, tokens, d_out]`, at most `context_length` tokens. As in the book, the buffer
    `mask` holds ones where a token is hidden.
    """

    def __init__(self, d_in: int, d_out: int, context_length: int, dropout: float, qkv_bias: bool = False) -> None:
        super().__init__(d_in, d_out, qkv_bias)
        self.d_out = d_out
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", torch.ones(context_length, context_length).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.shape[1]
        visible = self.mask[:tokens, :tokens] == 0
        return explicit_attention(self.W_query(x), self.W_key(x), self.W_value(x), visible, self.dropout)


class MultiHeadAttentionWrapper(nn.Module):
    """Several causal attentions side by side (section 3.6.1); returns `[batch, tokens, num_heads * d_out]`."""

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int, qkv_bias: bool = False
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            CausalAttention(d_in, d_out, context_length, dropout, qkv_bias) for _ in range(num_heads)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([head(x) for head in self.heads], dim=-1)


class DummyTransformerBlock(nn.Module):
    """Placeholder of the transformer block: returns its input (section 4.1)."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return x


class DummyLayerNorm(nn.Module):
    """Placeholder of the layer norm: returns its input (section 4.1)."""

    def __init__(self, normalized_shape: int, eps: float = 1e-5) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class DummyGPTModel(GPTModel):
    """The GPT model with placeholders between embeddings and output head (section 4.1)."""

    block_class = DummyTransformerBlock
    norm_class = DummyLayerNorm


class ExampleDeepNeuralNetwork(nn.Module):
    """Linear layers with GELU, to compare gradients with and without shortcuts (section 4.4).

    Args:
        layer_sizes: widths of the input and after each layer, six in the book.
        use_shortcut: add a layer's input to its output where both have the same shape.
    """

    def __init__(self, layer_sizes: Sequence[int], use_shortcut: bool) -> None:
        super().__init__()
        self.use_shortcut = use_shortcut
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), GELU()) for before, after in pairwise(layer_sizes)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            output = layer(x)
            x = x + output if self.use_shortcut and x.shape == output.shape else output
        return x
