"""Low-rank adaptation: fine-tuning through two thin matrices beside each frozen linear layer (appendix E).

Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LoRALayer(nn.Module):
    """The update of low rank, `alpha / rank * x A B`; zero at first, since B begins as zeros.

    The division by the rank is the paper's, and that of appendix E's current text: the size of the update does not
    change with the rank. The package `llms_from_scratch` 1.0.19 lacks it; `alpha * rank` gives here what `alpha`
    gives there. Under one seed A is the same.

    Args:
        in_dim, out_dim: widths of the linear layer beside it.
        rank: columns of A and rows of B.
        alpha: strength of the update.
    """

    def __init__(self, in_dim: int, out_dim: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.empty(in_dim, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))  # as nn.Linear draws its weights
        self.B = nn.Parameter(torch.zeros(rank, out_dim))
        self.alpha = alpha
        self.rank = rank

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_dim]` → `[..., out_dim]`."""
        return self.alpha / self.rank * (x @ self.A @ self.B)


class LinearWithLoRA(nn.Module):
    """A linear layer plus its update of low rank. Freezing the layer itself is the caller's business."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear
        self.lora = LoRALayer(linear.in_features, linear.out_features, rank, alpha)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.lora(x)

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """Return the weight `[out, in]` of a linear layer that computes the same alone."""
        return self.linear.weight + self.lora.alpha / self.lora.rank * (self.lora.A @ self.lora.B).T


def replace_linear_with_lora(model: nn.Module, rank: int, alpha: float) -> None:
    """Put a `LinearWithLoRA` in the place of every linear layer in `model`; those that have one already keep it."""
    for name, module in model.named_children():
        if isinstance(module, nn.Linear):
            setattr(model, name, LinearWithLoRA(module, rank, alpha))
        elif not isinstance(module, LinearWithLoRA):
            replace_linear_with_lora(module, rank, alpha)


def train_lora(model: nn.Module, rank: int, alpha: float) -> None:
    """Freeze the whole model and give every linear layer, the output head included, an update to be trained."""
    model.requires_grad_(False)
    replace_linear_with_lora(model, rank, alpha)


def merge_lora(model: nn.Module) -> None:
    """Add every update to the weights that it stands beside, and put the linear layers back in their places.

    An output head that shared the embedding's matrix has one of its own from then on, since the update is the head's.
    """
    for name, module in model.named_children():
        if isinstance(module, LinearWithLoRA):
            module.linear.weight = nn.Parameter(module.merged_weight(), requires_grad=False)
            setattr(model, name, module.linear)
        else:
            merge_lora(module)
