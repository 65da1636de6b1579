"""The ways to compute causal multi-head attention, timed (the companion's ch03/02)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gpt_from_scratch.experiments.timing import Say, Timing, in_turn, wait
from gpt_from_scratch.model.attention import MultiHeadAttention, causal_mask, explicit_attention, fused_attention
from gpt_from_scratch.model.fast import with_one_projection
from gpt_from_scratch.model.layers import use_kernels
from gpt_from_scratch.model.stepping_stones import MultiHeadAttentionWrapper

TOLERANCE = 1e-5
"""Largest difference between two forms' outputs on the same weights, which are of about 0.1."""


def measure(names: list[str], sizes: Mapping[str, int], device: torch.device, say: Say) -> dict[str, Timing]:
    """Time the forward pass, and forward and backward pass together, in milliseconds.

    All forms have the weights of one `MultiHeadAttention`, and their outputs are compared with its own.

    Raises:
        ValueError: when an output differs by more than rounding.
    """
    torch.manual_seed(123)
    width, heads, tokens = sizes["emb_dim"], sizes["n_heads"], sizes["tokens"]
    explicit = MultiHeadAttention(width, width, tokens, 0.0, heads).to(device)
    x = torch.randn(sizes["batch"], tokens, width, device=device)
    forms = {name: FORMS[name](explicit).to(device).eval() for name in names}
    with torch.inference_mode():
        expected = explicit(x)
        for name, form in forms.items():
            found = projected(form, explicit, x)
            if (difference := (found - expected).abs().max().item()) > TOLERANCE:
                raise ValueError(f"{name}: expected the output of the book's arithmetic, found it {difference} apart")
    say(f"{len(forms)} forms give the same output on the same weights, to {TOLERANCE}")
    forward = in_turn({name: _forward(form, x, device) for name, form in forms.items()}, sizes["repeats"])
    say("forward passes timed; now with the backward passes")
    both = in_turn({name: _both(form, x, device) for name, form in forms.items()}, sizes["repeats"])
    column = "gpu" if device.type == "cuda" else "forward"
    return {name: Timing({column: forward[name] * 1e3, "both": both[name] * 1e3}) for name in names}


def projected(form: nn.Module, explicit: MultiHeadAttention, x: Tensor) -> Tensor:
    """Return a form's output; that of the wrapper, which has no output projection, behind the other's."""
    return explicit.out_proj(form(x)) if isinstance(form, MultiHeadAttentionWrapper) else form(x)


def wrapper(attention: MultiHeadAttention) -> MultiHeadAttentionWrapper:
    """Return the book's heads side by side (section 3.6.1) with the weights of an attention."""
    heads, width = attention.num_heads, attention.head_dim
    d_in = attention.W_query.in_features
    made = MultiHeadAttentionWrapper(d_in, width, attention.context_length, attention.dropout.p, heads)
    with torch.no_grad():
        for name in ("W_query", "W_key", "W_value"):
            for head, part in zip(made.heads, getattr(attention, name).weight.split(width), strict=True):
                getattr(head, name).weight.copy_(part)
    return made


def fused(attention: MultiHeadAttention) -> MultiHeadAttention:
    """Return a copy that runs PyTorch's kernels."""
    made = copied(attention)
    use_kernels(made, "fused")
    return made


def copied(attention: MultiHeadAttention) -> MultiHeadAttention:
    """Return a copy."""
    width = attention.W_query.in_features
    made = MultiHeadAttention(width, attention.d_out, attention.context_length, 0.0, attention.num_heads)
    made.load_state_dict(attention.state_dict())
    return made


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


FORMS: dict[str, Callable[[MultiHeadAttention], nn.Module]] = {
    "wrapper": wrapper,
    "explicit": copied,
    "combined": CombinedProjection,
    "einsum": EinsumAttention,
    "one-projection-fused": lambda attention: with_one_projection(copied(attention)),
    "fused-with-mask": FusedWithMask,
    "pytorch-module": lambda attention: PyTorchModule(attention, need_weights=True),
    "pytorch-module-no-weights": lambda attention: PyTorchModule(attention, need_weights=False),
    "flex": FlexAttention,
    "fused": fused,
}


def _forward(form: nn.Module, x: Tensor, device: torch.device) -> Callable[[], None]:
    def work() -> None:
        with torch.inference_mode():
            form(x)
        wait(device)

    return work


def _both(form: nn.Module, x: Tensor, device: torch.device) -> Callable[[], None]:
    def work() -> None:
        form.zero_grad()
        form(x).sum().backward()
        wait(device)

    return work
