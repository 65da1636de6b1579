"""A padded batch without its padding: the sequences one behind the other."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(inputs: Tensor, targets: Tensor, ignored: int) -> tuple[Tensor, Tensor, list[int]]:
    """Keep of each row what its last learnt target can see, which is all that the loss depends on.

    Args:
        inputs, targets: token ids `[batch, tokens]`.
        ignored: a target that is not learnt.

    Returns:
        Inputs and targets, each `[1, tokens kept]`, and how many each row keeps; at least one.
    """
    places = torch.arange(1, targets.shape[1] + 1, device=targets.device)
    lengths = ((targets != ignored) * places).amax(dim=1).clamp(min=1)
    kept = places <= lengths.unsqueeze(1)
    return inputs[kept].unsqueeze(0), targets[kept].unsqueeze(0), lengths.tolist()
