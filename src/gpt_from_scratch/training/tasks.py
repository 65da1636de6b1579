"""The tasks, in which the three trainings differ: the loss, the unit of a batch, and the scores after an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt_from_scratch.model.fast_path import FastPath
from gpt_from_scratch.model.sequences import DecidingToken, Sequences, first_tokens, mean_tokens
from gpt_from_scratch.training.batch import IGNORED, Batch, Loaders
from gpt_from_scratch.training.cross_entropy import cross_entropy
from gpt_from_scratch.training.packing import pack
from gpt_from_scratch.training.process_group import Evaluator


class Task(Protocol):
    """One kind of training."""

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        """Return the mean loss of one batch, a scalar in nats."""

    def count(self, batch: Batch) -> int:
        """Return the units of a batch: its tokens or examples."""

    def weight(self, batch: Batch) -> float:
        """Return the total weight of the targets in the mean loss of a batch; 0: none is learnt."""

    def scores(self, model: nn.Module, loaders: Loaders, evaluator: Evaluator) -> Iterator[tuple[str, float]]:
        """Yield the scores after an epoch, names and values; the model is in evaluation mode."""


class LanguageModelling:
    """Predicting the next token: pretraining (chapter 5) and instruction tuning (chapter 7).

    Targets of −100 are not learnt. A model with `kernels="fused"` computes on a CPU only what its loss depends on:
    no padding, and logits for learnt targets alone; not where it is compiled, since how much that is differs from
    batch to batch.
    """

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        inputs, targets = (part.to(device) for part in batch)
        whole = torch.compiler.is_compiling() or inputs.device.type != "cpu"
        if whole or not fused(model):
            return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        lengths, learnt = None, targets != IGNORED
        if not learnt.all():
            inputs, targets, lengths = pack(inputs, targets, IGNORED)
            learnt = targets != IGNORED
        return cross_entropy(model(inputs, fast=FastPath(lengths, wanted=learnt)), targets[learnt])

    def count(self, batch: Batch) -> int:
        return batch[0].numel()

    def weight(self, batch: Batch) -> int:
        return int((batch[1] != IGNORED).sum())

    def scores(self, model: nn.Module, loaders: Loaders, evaluator: Evaluator) -> Iterator[tuple[str, float]]:
        yield from ()


class Classification:
    """Deciding a class from the logits at one position, the last in chapter 6, or from their mean over all.

    For `Sequences`, the last block computes a last position alone; for token ids it does under `kernels="fused"`,
    unless dropout is to draw as many random numbers as for all of them. Under the same condition no more than the first
    token is computed where that decides and sees no other.

    Args:
        first_block: block that the inputs enter, if they are cached activations; 0: they are token ids.
        deciding_token: which position decides.
        class_weights: weight of an example of each class in the mean loss, `[classes]`; all the same if None.
    """

    def __init__(
        self,
        first_block: int = 0,
        deciding_token: DecidingToken = "last",
        class_weights: Tensor | None = None,
    ) -> None:
        self._first_block, self._deciding_token, self._class_weights = first_block, deciding_token, class_weights

    def logits(self, model: nn.Module, inputs: Tensor | Sequences) -> Tensor:
        """Return class logits `[batch, classes]` for token ids `[batch, tokens]`, or for `Sequences`."""
        if isinstance(inputs, Sequences):
            last = self._deciding_token in ("last", "last_real")
            logits = model(inputs.values, fast=FastPath(inputs.lengths, last, first_block=self._first_block))
            if last:
                return logits[0]
            decide = first_tokens if self._deciding_token == "first" else mean_tokens
            return decide(logits, inputs.lengths)[0]
        bare = _bare(model)
        spare = getattr(bare, "kernels", "explicit") == "fused" and not (model.training and any(bare.config.drop_rates))
        if self._deciding_token == "mean":
            return mean_tokens(model(inputs), None)[:, 0]
        if self._deciding_token == "first":
            return model(inputs[:, :1] if spare and bare.config.causal else inputs)[:, 0]
        return model(inputs, fast=FastPath(last_only=True))[:, -1] if spare else model(inputs)[:, -1]

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        inputs, labels = (part.to(device) for part in batch)
        weights = None if self._class_weights is None else self._class_weights.to(device)
        return F.cross_entropy(self.logits(model, inputs), labels, weights)

    def count(self, batch: Batch) -> int:
        return len(batch[1])

    def weight(self, batch: Batch) -> float:
        labels = batch[1].cpu()
        return len(labels) if self._class_weights is None else self._class_weights[labels].sum().item()

    def scores(self, model: nn.Module, loaders: Loaders, evaluator: Evaluator) -> Iterator[tuple[str, float]]:
        for name, loader in zip(("train_accuracy", "validation_accuracy"), loaders, strict=True):
            yield name, accuracy(self, model, loader, evaluator)


def fused(model: nn.Module) -> bool:
    """Return whether a model may leave out what a loss does not depend on (`kernels="fused"`)."""
    return getattr(_bare(model), "kernels", "explicit") == "fused"


def _bare(model: nn.Module) -> nn.Module:
    """Return the model inside DistributedDataParallel, which keeps it as `module`."""
    return getattr(model, "module", model)


def mean_loss(task: Task, model: nn.Module, loader: Iterable[Batch], evaluator: Evaluator) -> float:
    """Return the mean of the batches' losses, in nats; NaN without any.

    Batches without anything to learn are left out. The model's mode is the caller's choice.
    """

    def measure(batch: Batch) -> tuple[float, float]:
        return task.loss(model, batch, evaluator.device).item(), task.weight(batch)

    losses = [loss for loss, weight in evaluator.each(loader, measure) if weight]
    return sum(losses) / len(losses) if losses else float("nan")


def accuracy(task: Classification, model: nn.Module, loader: Iterable[Batch], evaluator: Evaluator) -> float:
    """Return the fraction of correctly classified examples; NaN without any."""

    def measure(batch: Batch) -> tuple[float, float]:
        inputs, labels = (part.to(evaluator.device) for part in batch)
        predicted = task.logits(model, inputs).argmax(dim=-1)
        return (predicted == labels).sum().item(), len(labels)

    results = evaluator.each(loader, measure)
    correct, examples = (sum(column) for column in zip(*results, strict=True)) if results else (0, 0)
    return correct / examples if examples else float("nan")
