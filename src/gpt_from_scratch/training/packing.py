"""Packing: a batch without its padding, the sequences one behind the other."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(inputs: Tensor, targets: Tensor, ignored: int) -> tuple[Tensor, Tensor, list[int]]:
    """Cut each row after its last learnt target, on which and on the positions before it alone the loss depends.

    Args:
        inputs, targets: token ids `[batch, tokens]`.
        ignored: a target that is not learnt.

    Returns:
        Inputs and targets, each `[1, tokens kept]`, and the number that each row keeps; at least one.
    """
    places = torch.arange(1, targets.shape[1] + 1, device=targets.device)
    lengths = ((targets != ignored) * places).amax(dim=1).clamp(min=1)
    kept = places <= lengths.unsqueeze(1)
    return inputs[kept].unsqueeze(0), targets[kept].unsqueeze(0), lengths.tolist()
