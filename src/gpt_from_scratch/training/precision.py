"""bf16 arithmetic and compiled code for a training's losses; weights, gradients and the optimizer stay in fp32."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.batch import Batch, Loaders
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.tasks import Task

Precision = Literal["fp32", "bf16"]


def accelerated(task: Task, precision: Precision = "fp32", compiled: bool = False) -> Task:
    """Return the task with its losses computed as asked; the task itself where nothing is asked.

    Args:
        task: a training's task.
        precision: bf16: matrix products and attention in bf16, the cross-entropy in fp32 (PyTorch's autocast).
        compiled: forward and backward pass by `torch.compile`, which joins what lies between matrix products. It draws
            other random numbers for dropout.

    Raises:
        InputError: when code is to be compiled and there is no C++ compiler.
    """
    if precision == "fp32" and not compiled:
        return task
    if compiled and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        raise InputError(
            "compile: expected a C++ compiler (g++ or clang++), found none; install one, or set it to false"
        )
    return _Accelerated(task, precision, compiled)


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which a loss is computed with a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


class _Accelerated:
    """A task around a task; what it counts and weighs is the inner one's."""

    def __init__(self, task: Task, precision: Precision, compiled: bool) -> None:
        self._task, self._precision = task, precision
        if compiled:
            # Tells the compiler too.
            torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
        self._loss = torch.compile(task.loss) if compiled else task.loss
        self.count, self.weight = task.count, task.weight

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        # Moved here, so that the compiled code has one device.
        batch = tuple(part.to(device) for part in batch)
        with autocast(self._precision, device):
            return self._loss(model, batch, device)

    def scores(self, model: nn.Module, loaders: Loaders, evaluator: Evaluator) -> Iterator[tuple[str, float]]:
        with autocast(self._precision, evaluator.device):
            # All of them now: between two values of a generator the caller would compute in bf16 too.
            return iter(list(self._task.scores(model, loaders, evaluator)))
