"""The ways to compute causal multi-head attention, timed (the companion's ch03/02)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gpt_from_scratch.experiments.attention_forms import (
    CombinedProjection,
    EinsumAttention,
    FlexAttention,
    FusedWithMask,
    PyTorchModule,
)
from gpt_from_scratch.experiments.timing import Say, Timing, in_turn, wait
from gpt_from_scratch.model.attention import MultiHeadAttention
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
