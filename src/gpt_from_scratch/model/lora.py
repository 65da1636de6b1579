"""Low-rank adaptation (LoRA): two small trainable matrices beside each frozen linear layer (appendix E).

Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LoRALayer(nn.Module):
    """The low-rank update, `alpha / rank * x A B`; zero at first, since B is initialised with zeros.

    LoRA scaling is alpha / rank, as in the paper and in appendix E's current text. The package `llms_from_scratch`
    1.0.19 does not divide by the rank: for its unscaled LoRA, set `alpha * rank` here. Under one seed A is the same.

    Args:
        in_dim, out_dim: widths of the linear layer beside it.
        rank: columns of A and rows of B.
        alpha: numerator of the scaling.
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
    """A linear layer plus its low-rank update. The caller freezes the layer itself."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear
        self.lora = LoRALayer(linear.in_features, linear.out_features, rank, alpha)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.lora(x)

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """Return the weight `[out, in]` of a single linear layer with the same output."""
        return self.linear.weight + self.lora.alpha / self.lora.rank * (self.lora.A @ self.lora.B).T


def replace_linear_with_lora(model: nn.Module, rank: int, alpha: float) -> None:
    """Replace every linear layer in `model` by a `LinearWithLoRA`, except those that are in one already."""
    for name, module in model.named_children():
        if isinstance(module, nn.Linear):
            setattr(model, name, LinearWithLoRA(module, rank, alpha))
        elif not isinstance(module, LinearWithLoRA):
            replace_linear_with_lora(module, rank, alpha)


def train_lora(model: nn.Module, rank: int, alpha: float) -> None:
    """Freeze the whole model and give every linear layer, the output head included, a trainable update."""
    model.requires_grad_(False)
    replace_linear_with_lora(model, rank, alpha)


def merge_lora(model: nn.Module) -> None:
    """Add every update to the weights of its linear layer, and put the linear layers back in place.

    An output head that shared the embedding's matrix then has its own, since the update is the head's alone.
    """
    for name, module in model.named_children():
        if isinstance(module, LinearWithLoRA):
            module.linear.weight = nn.Parameter(module.merged_weight(), requires_grad=False)
            setattr(model, name, module.linear)
        else:
            merge_lora(module)
