"""The training loop: the only one, for all three trainings (chapters 5 to 7, appendix D).

It draws no random numbers of its own and takes any loader, so that under one seed it meets the same batches and the
same dropout as the book's functions do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn
from torch.utils.data import DataLoader

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.signals import uninterrupted
from gpt_from_scratch.training.process_group import ALONE, Group
from gpt_from_scratch.training.random_state import RandomState
from gpt_from_scratch.training.sharding import exchanging, whole
from gpt_from_scratch.training.tasks import Batch, Task, mean_loss


@dataclass(frozen=True)
class Record:
    """One thing that the loop has to say.

    Attributes:
        step: number of the update, from 0.
        name: `loss`, `lr` and `grad_norm` (before clipping) after every update; `train_loss` and `validation_loss` at
            every evaluation; the task's scores, then `epoch` itself, at the end of an epoch.
        value: the figure.
        epoch: epoch of the step, from 1.
        seen: tokens or examples trained on so far, this step included.
    """

    step: int
    name: str
    value: float
    epoch: int
    seen: int


@dataclass(frozen=True)
class Position:
    """Where a training stands: right after an update, before anything is measured or written on it.

    With the weights and the optimizer's state of that moment, `train` goes on from here as if it had never stopped.

    Attributes:
        step, epoch, seen: as in `Record`.
        batches: batches drawn in this epoch.
        loss, lr, grad_norm: what the update reports.
        epoch_random: the random generators before the epoch's first batch was drawn.
        random: the random generators after the update.
    """

    step: int
    epoch: int
    seen: int
    batches: int
    loss: float
    lr: float
    grad_norm: float
    epoch_random: RandomState
    random: RandomState


def train(
    model: nn.Module,
    task: Task,
    train_loader: DataLoader[Batch],
    val_loader: DataLoader[Batch],
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    *,
    epochs: int,
    eval_every: int,
    eval_batches: int | None,
    schedule: Callable[[int], float] | None = None,
    max_grad_norm: float | None = None,
    clip_from_step: int = 0,
    accumulation_steps: int = 1,
    start: Position | None = None,
    on_update: Callable[[Position], None] = lambda position: None,
    group: Group = ALONE,
) -> Iterator[Record]:
    """Train `model` and yield records as they arise.

    Args:
        eval_every: steps between two evaluations; the first is after step 0.
        eval_batches: batches per evaluation and loader; all if None.
        schedule: learning rate per step; the optimizer's own if None.
        max_grad_norm: gradients are scaled down to this norm, from `clip_from_step` on; no clipping if None.
        accumulation_steps: batches that make one update, as if they were one batch; what is left of an epoch after the
            last full update is not trained on, as by a loader that drops its last, smaller batch.
        start: where to go on; the model and the optimizer have to be those of that moment.
        on_update: is told the position after every update, while no signal interrupts.
        group: the processes that train together; `model` is then what a `Spread` calls. Each yields the same records.

    Raises:
        InputError: when a loss or a gradient is not finite; the update is not made.

    After the record named `epoch` the model is in evaluation mode, so that the caller can write a sample.
    """

    def measure(position: Position) -> Iterator[Record]:
        def record(name: str, value: float) -> Record:
            return Record(position.step, name, value, position.epoch, position.seen)

        yield record("loss", position.loss)
        yield record("lr", position.lr)
        yield record("grad_norm", position.grad_norm)
        if position.step % eval_every == 0:
            model.eval()
            yield record("train_loss", mean_loss(task, model, train_loader, device, eval_batches, group))
            yield record("validation_loss", mean_loss(task, model, val_loader, device, eval_batches, group))
            model.train()

    step, seen = (start.step, start.seen) if start else (-1, 0)
    for epoch in range(start.epoch if start else 1, epochs + 1):
        model.train()
        resumed = start if start and start.epoch == epoch else None
        if resumed:
            resumed.epoch_random.restore(device)
        epoch_random = RandomState.capture(device)
        batches = iter(train_loader)
        drawn = 0
        if resumed:
            drawn = sum(1 for _ in islice(batches, resumed.batches))
            resumed.random.restore(device)
            yield from measure(resumed)
        while len(parts := list(islice(batches, accumulation_steps))) == accumulation_steps:
            step += 1
            drawn += len(parts)
            if schedule is not None:
                for parameters in optimizer.param_groups:
                    parameters["lr"] = schedule(step)
            lr = optimizer.param_groups[0]["lr"]
            optimizer.zero_grad()
            loss = _backward(model, task, parts, device, group, drawn)
            clipped = max_grad_norm is not None and step >= clip_from_step
            grad_norm = _clip(model, max_grad_norm if clipped else None)
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                raise InputError(
                    f"step {step}, batch {drawn} of epoch {epoch}: expected finite numbers, found loss {loss} and "
                    f"gradient norm {grad_norm} at learning rate {lr:g}; the update was not made: lower the learning "
                    "rate, warm up, or clip the gradients"
                )
            with uninterrupted():
                optimizer.step()
                seen += sum(task.count(batch) for batch in parts)
                position = Position(
                    step, epoch, seen, drawn, loss, lr, grad_norm, epoch_random, RandomState.capture(device)
                )
                on_update(position)
            yield from measure(position)
        model.eval()
        for name, value in task.scores(model, train_loader, val_loader, device, eval_batches, group):
            yield Record(step, name, value, epoch, seen)
        yield Record(step, "epoch", float(epoch), epoch, seen)


def _backward(
    model: nn.Module, task: Task, parts: list[Batch], device: torch.device, group: Group, drawn: int
) -> float:
    """Add up the gradients of some batches, each row by its share of what is learnt; return the mean loss.

    Args:
        drawn: batches drawn in this epoch, these included.
    """
    if len(parts) == group.size == 1:
        loss = task.loss(model, parts[0], device)
        loss.backward()
        return loss.item()
    total = sum(task.weight(batch) for batch in parts) or 1
    mean = 0.0
    for left, batch in zip(reversed(range(len(parts))), parts, strict=True):
        own = group.rows(batch)
        weight = task.weight(own)
        with exchanging(model, wanted=left == 0), group.own_random(device, drawn - left):
            # Rows without anything to learn have no loss, but the others wait for this process's gradients.
            loss = task.loss(model, own if weight else batch, device) * (weight / total)
            (loss * group.size).backward()  # what is exchanged is averaged
        mean += loss.item()
    return group.sum(mean)


def _clip(model: nn.Module, max_norm: float | None) -> float:
    """Return the norm of all gradients, and scale them down to `max_norm` if one is given."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = whole(torch.nn.utils.get_total_norm(gradients))
    if max_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), max_norm, norm)
    return norm.item()
