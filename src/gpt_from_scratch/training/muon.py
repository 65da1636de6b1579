"""Muon: orthogonalised momentum for the blocks' matrices, AdamW for all other parameters (Jordan et al. 2024).

PyTorch's own, `torch.optim.Muon`, orthogonalises in bf16, for which processors without such instructions take seconds
a matrix. Here it is done in the gradients' own precision; everything else is the same, and a test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gpt_from_scratch.model.linear import times_transposed
from gpt_from_scratch.training.adamw import AdamW, Uncompiled

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of Jordan's polynomial: five rounds bring every singular value near 1."""
ROUNDS, SMALLEST_NORM = 5, 1e-7


class MuonAdamW(Uncompiled):
    """Muon for some matrices, AdamW for other parameters, as one optimizer with one state.

    The update is scaled to the size that AdamW's usually has (Liu et al. 2025, "Muon is scalable for LLM training"), so
    that learning rate and weight decay mean the same for both.

    Args:
        adamw: its parameter groups come first.
        matrices: the parameters of two dimensions that Muon updates.
        lr: Muon's; a schedule keeps its share of AdamW's.
    """

    def __init__(self, adamw: AdamW, matrices: Sequence[Tensor], lr: float, weight_decay: float) -> None:
        own = {"params": list(matrices), "lr": lr, "weight_decay": weight_decay}
        own["lr_share"] = lr / adamw.param_groups[0]["lr"]
        super().__init__([*adamw.param_groups, own], {})
        self._adamw = adamw

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update all parameters by their gradients."""
        *others, own = self.param_groups
        # Again at every step, since loading a state replaces both.
        self._adamw.param_groups, self._adamw.state = others, self.state
        self._adamw.step()
        for matrix in own["params"]:
            if matrix.grad is not None:
                self._update(matrix, self.state[matrix], own["lr"], own["weight_decay"])

    @staticmethod
    def _update(matrix: Tensor, state: dict[str, Any], lr: float, weight_decay: float) -> None:
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix.grad)
        momentum = state["momentum"].lerp_(matrix.grad, 1 - MOMENTUM)
        direction = orthogonalised(matrix.grad.lerp(momentum, MOMENTUM))
        matrix.mul_(1 - lr * weight_decay)
        matrix.add_(direction, alpha=-lr * 0.2 * math.sqrt(max(matrix.shape)))


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return a matrix `[rows, columns]` with singular values near 1 in place of its own, by Newton-Schulz rounds."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=SMALLEST_NORM)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = times_transposed(x, x)
        x = a * x + times_transposed(b * gram + c * times_transposed(gram, gram), x.T)
    return x.T if tall else x
