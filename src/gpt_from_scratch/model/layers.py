"""Layer normalisation, GELU and the feed-forward network (chapter 4, sections 4.2 and 4.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt_from_scratch.model.config import GPTConfig, Kernels
from gpt_from_scratch.model.linear import Linear


def use_kernels(module: nn.Module, kernels: Kernels) -> None:
    """Set the kernels of every part of `module` that has both; see `GPTConfig`. The weights stay."""
    for part in module.modules():
        if hasattr(part, "kernels"):
            part.kernels = kernels


class LayerNorm(nn.Module):
    """Layer normalisation: the last dimension gets mean 0 and variance 1, then is scaled and shifted.

    The variance is the biased one, as in OpenAI's code. Shapes: `[..., emb_dim]` → `[..., emb_dim]`.
    """

    kernels: Kernels = "explicit"

    def __init__(self, emb_dim: int) -> None:
        super().__init__()
        self.eps = 1e-5
        self.scale = nn.Parameter(torch.ones(emb_dim))
        self.shift = nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x: Tensor) -> Tensor:
        if self.kernels == "fused":
            return F.layer_norm(x, self.scale.shape, self.scale, self.shift, self.eps)
        mean = x.mean(dim=-1, keepdim=True)
        variance = x.var(dim=-1, keepdim=True, unbiased=False)
        # Not / torch.sqrt: PyTorch takes it from MKL, where its last bit depends on the processor.
        return self.scale * ((x - mean) * torch.rsqrt(variance + self.eps)) + self.shift


class GELU(nn.Module):
    """Gaussian error linear unit in its tanh approximation, as in GPT-2 (Hendrycks & Gimpel 2016)."""

    kernels: Kernels = "explicit"

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        if self.kernels == "fused":
            return F.gelu(x, approximate="tanh")
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


class FeedForward(nn.Module):
    """Feed-forward network: a linear layer to four times the width, GELU, and one back. `[..., emb_dim]` → the same."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        cfg = GPTConfig.of(cfg)
        self.layers = nn.Sequential(
            Linear(cfg.emb_dim, 4 * cfg.emb_dim),
            GELU(),
            Linear(4 * cfg.emb_dim, cfg.emb_dim),
        )
        use_kernels(self, cfg.kernels)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
