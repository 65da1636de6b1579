"""AdamW and Muon, and the learning rate over time (chapter 5 and appendix D)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.optim import Optimizer

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.adamw import AdamW
from gpt_from_scratch.training.muon import MuonAdamW


def build_optimizer(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    *,
    kind: Literal["adamw", "muon"] = "adamw",
    decay: Literal["all", "matrices"] = "all",
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    muon_lr: float = 0.0,
) -> Optimizer:
    """Return AdamW over the parameters that are to be trained (Loshchilov & Hutter 2019), or Muon with it.

    PyTorch's fused form computes the same update in one pass over the memory.

    Args:
        kind: `muon`: Muon updates the blocks' matrices, AdamW all other parameters.
        decay: `matrices`: no weight decay on parameters of one dimension, which are biases and norms.
        betas, eps: as PyTorch's.
        muon_lr: learning rate of Muon's matrices; `lr` if 0.

    Raises:
        InputError: when there is nothing for Muon to train.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    matrices = []
    if kind == "muon":
        inside = [name for name, parameter in trainable.items() if ".trf_blocks." in f".{name}" and parameter.ndim == 2]
        if not inside:
            raise InputError("optimizer.kind: expected trainable matrices in the blocks for muon, found none")
        matrices = [trainable.pop(name) for name in inside]
    groups = [{"params": list(trainable.values())}]
    if decay == "matrices":
        vectors = [parameter for parameter in trainable.values() if parameter.ndim < 2]
        groups = [
            {"params": [parameter for parameter in trainable.values() if parameter.ndim >= 2]},
            {"params": vectors, "weight_decay": 0.0},
        ]
    adamw = AdamW(
        [group for group in groups if group["params"]],
        lr=lr,
        weight_decay=weight_decay,
        betas=betas,
        eps=eps,
        fused=True,
    )
    return MuonAdamW(adamw, matrices, muon_lr or lr, weight_decay) if matrices else adamw


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then cosine decay (appendix D, sections D.1 and D.2).

    nanoGPT's is the same but for its first rate, `peak_lr / (warmup_steps + 1)` in the place of `initial_lr`.

    Attributes:
        peak_lr: learning rate at the end of the warm-up.
        initial_lr: learning rate of step 0.
        min_lr: learning rate that the decay ends at.
        warmup_steps: steps from `initial_lr` to `peak_lr`.
        total_steps: steps of the whole training.
    """

    peak_lr: float
    initial_lr: float
    min_lr: float
    warmup_steps: int
    total_steps: int

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.initial_lr + step * (self.peak_lr - self.initial_lr) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return self.min_lr + (self.peak_lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
