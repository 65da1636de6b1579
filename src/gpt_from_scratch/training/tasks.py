"""What sets the three trainings apart: the loss, what is counted, and what is measured after an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batch = tuple[Tensor, Tensor]
"""Inputs, token ids `[batch, tokens]`, and targets: token ids `[batch, tokens]` or class numbers `[batch]`."""

IGNORED = -100
"""A target that is not learnt: what PyTorch's cross-entropy leaves out."""


class Task(Protocol):
    """One kind of training."""

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        """Return the mean loss of one batch, a scalar in nats."""

    def count(self, batch: Batch) -> int:
        """Return how much of what this training counts (tokens, examples) a batch holds."""

    def weight(self, batch: Batch) -> int:
        """Return how many targets the mean loss of a batch is over."""

    def scores(
        self,
        model: nn.Module,
        train_loader: Iterable[Batch],
        val_loader: Iterable[Batch],
        device: torch.device,
        num_batches: int | None,
    ) -> Iterator[tuple[str, float]]:
        """Yield what is measured after every epoch, as names and values; the model is in evaluation mode."""


class LanguageModelling:
    """Predicting the next token: pretraining (chapter 5) and instruction tuning (chapter 7).

    Targets of −100 are not learnt.
    """

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        inputs, targets = (part.to(device) for part in batch)
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    def count(self, batch: Batch) -> int:
        return batch[0].numel()

    def weight(self, batch: Batch) -> int:
        return int((batch[1] != IGNORED).sum())

    def scores(
        self,
        model: nn.Module,
        train_loader: Iterable[Batch],
        val_loader: Iterable[Batch],
        device: torch.device,
        num_batches: int | None,
    ) -> Iterator[tuple[str, float]]:
        yield from ()


class Classification:
    """Deciding a class from the logits at the last position (chapter 6)."""

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return class logits `[batch, classes]` for token ids `[batch, tokens]`."""
        return model(inputs)[:, -1, :]

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        inputs, labels = (part.to(device) for part in batch)
        return F.cross_entropy(self.logits(model, inputs), labels)

    def count(self, batch: Batch) -> int:
        return batch[0].shape[0]

    def weight(self, batch: Batch) -> int:
        return batch[0].shape[0]

    def scores(
        self,
        model: nn.Module,
        train_loader: Iterable[Batch],
        val_loader: Iterable[Batch],
        device: torch.device,
        num_batches: int | None,
    ) -> Iterator[tuple[str, float]]:
        yield "train_accuracy", accuracy(self, model, train_loader, device, num_batches)
        yield "validation_accuracy", accuracy(self, model, val_loader, device, num_batches)


@torch.no_grad()
def mean_loss(
    task: Task, model: nn.Module, loader: Iterable[Batch], device: torch.device, num_batches: int | None = None
) -> float:
    """Return the mean of the batches' losses over the first `num_batches` batches (all if None); NaN without any.

    The model's mode is the caller's business.
    """
    losses = [task.loss(model, batch, device).item() for batch in islice(loader, num_batches)]
    return sum(losses) / len(losses) if losses else float("nan")


@torch.no_grad()
def accuracy(
    task: Classification,
    model: nn.Module,
    loader: Iterable[Batch],
    device: torch.device,
    num_batches: int | None = None,
) -> float:
    """Return the fraction of correctly classified examples in the first `num_batches` batches; NaN without any."""
    correct = examples = 0
    for inputs, labels in islice(loader, num_batches):
        predicted = task.logits(model, inputs.to(device)).argmax(dim=-1)
        correct += int((predicted == labels.to(device)).sum())
        examples += labels.shape[0]
    return correct / examples if examples else float("nan")
