"""Cross-entropy over a large vocabulary, with as few passes over the logits as can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = 16
"""Rows taken at a time: with GPT-2's vocabulary 3 MB, which stay in the processor's cache."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of `-log softmax(logits)[target]`, in nats, and use up the logits; NaN without any.

    PyTorch's own keeps the logits' softmax beside them, and makes their gradient of the two in a third place. Here
    the gradient takes the place of the logits while each part of them is at hand: they must not be read afterwards.

    Args:
        logits: `[rows, classes]`; of fewer than 32 bits they are computed with in fp32, and kept.
        targets: class numbers `[rows]`; each counts.
    """
    return _CrossEntropy.apply(logits.to(torch.promote_types(logits.dtype, torch.float32)), targets)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        with_gradient = ctx.needs_input_grad[0]
        losses = []
        own = logits.new_empty(ROWS, logits.shape[1])  # once: new memory costs as much as what is computed in it
        for rows, wanted in zip(logits.split(ROWS), targets.split(ROWS), strict=True):
            log_probabilities = torch.log_softmax(rows, dim=-1, out=own[: len(rows)])
            picked = log_probabilities.gather(1, wanted.unsqueeze(1))
            losses.append(-picked.sum())
            if with_gradient:
                torch.exp(log_probabilities, out=rows)
                rows.scatter_add_(1, wanted.unsqueeze(1), torch.full_like(picked, -1.0))
                rows.div_(len(targets))
        ctx.gradient = logits if with_gradient else None
        return torch.stack(losses).sum() / len(targets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None]:
        # A training step asks for the loss's own gradient, and needs no further pass over it.
        return (ctx.gradient if factor.item() == 1.0 else ctx.gradient * factor), None
