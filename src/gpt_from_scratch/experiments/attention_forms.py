"""Causal multi-head attention written in further ways, all with the weights of a `MultiHeadAttention`.

They are here to be compared with; the model uses those of `model/`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gpt_from_scratch.model.attention import MultiHeadAttention, causal_mask, explicit_attention, fused_attention


class CombinedProjection(nn.Module):
    """Queries, keys and values from one matrix, then the book's arithmetic. `[batch, tokens, width]` → the same."""

    def __init__(self, attention: MultiHeadAttention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        parts = (attention.W_query, attention.W_key, attention.W_value)
        self.qkv = nn.Parameter(torch.cat([part.weight.detach() for part in parts]).clone())
        self.out_proj = nn.Linear(attention.d_out, attention.d_out)
        self.out_proj.load_state_dict(attention.out_proj.state_dict())
        self.dropout = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return context vectors."""
        queries, keys, values = self.split(x)
        visible = causal_mask(x.shape[1], x.shape[1], x.device)
        context = explicit_attention(queries, keys, values, visible, self.dropout)
        return self.out_proj(context.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each `[batch, heads, tokens, head width]`."""
        heads = (x @ self.qkv.T).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        return queries, keys, values


class EinsumAttention(CombinedProjection):
    """The same as sums over named indices."""

    def forward(self, x: Tensor) -> Tensor:
        """Return context vectors."""
        weights = self.qkv.unflatten(0, (3, self.heads, -1))
        queries, keys, values = torch.einsum("btd,qhed->qbhte", x, weights)
        scores = torch.einsum("bhqe,bhke->bhqk", queries, keys) / queries.shape[-1] ** 0.5
        hidden = ~causal_mask(x.shape[1], x.shape[1], x.device)
        shares = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
        context = torch.einsum("bhqk,bhke->bqhe", shares, values)
        return self.out_proj(context.flatten(2))


class FusedWithMask(CombinedProjection):
    """PyTorch's fused kernel with the causal mask given as a tensor, which rules FlashAttention out."""

    def forward(self, x: Tensor) -> Tensor:
        """Return context vectors."""
        visible = causal_mask(x.shape[1], x.shape[1], x.device)
        context = fused_attention(*self.split(x), visible, 0.0)
        return self.out_proj(context.transpose(1, 2).flatten(2))


class FlexAttention(CombinedProjection):
    """PyTorch's FlexAttention, compiled, with the mask as a function: for GPUs."""

    def __init__(self, attention: MultiHeadAttention) -> None:
        from torch.nn.attention.flex_attention import flex_attention

        super().__init__(attention)
        self._attend = torch.compile(flex_attention)
        self._masks: dict[int, object] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return context vectors."""
        from torch.nn.attention.flex_attention import create_block_mask

        tokens = x.shape[1]
        if tokens not in self._masks:
            self._masks[tokens] = create_block_mask(
                lambda batch, head, query, key: query >= key, None, None, tokens, tokens, device=x.device
            )
        context = self._attend(*self.split(x), block_mask=self._masks[tokens])
        return self.out_proj(context.transpose(1, 2).flatten(2))


class PyTorchModule(nn.Module):
    """`torch.nn.MultiheadAttention`, which by default also returns the attention weights."""

    def __init__(self, attention: MultiHeadAttention, need_weights: bool) -> None:
        super().__init__()
        self.need_weights = need_weights
        self.attention = nn.MultiheadAttention(attention.d_out, attention.num_heads, bias=True, batch_first=True)
        parts = (attention.W_query, attention.W_key, attention.W_value)
        with torch.no_grad():
            self.attention.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            self.attention.in_proj_bias.zero_()
            self.attention.out_proj.load_state_dict(attention.out_proj.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        """Return context vectors."""
        hidden = ~causal_mask(x.shape[1], x.shape[1], x.device)
        return self.attention(x, x, x, attn_mask=hidden, need_weights=self.need_weights)[0]
