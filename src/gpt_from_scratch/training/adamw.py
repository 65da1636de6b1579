"""PyTorch's AdamW (Loshchilov & Hutter 2019), without the compiler that it loads."""

from __future__ import annotations

import inspect

import torch
from torch.optim import Optimizer


class Uncompiled(Optimizer):
    """PyTorch's optimizer without its marks for the compiler, which no training here uses for updates.

    The first call of a marked method imports the compiler: two seconds at the start of every training.
    """

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class AdamW(Uncompiled, torch.optim.AdamW):
    """PyTorch's AdamW."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
