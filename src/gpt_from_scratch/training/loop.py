"""The training loop: the only one, for all three trainings (chapters 5 to 7, appendix D).

It draws no random numbers of its own and takes any loader, so that under one seed it draws the same batches and the
same dropout as the book's functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.batch import Batch, Loaders
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.process_group import ALONE, Evaluator, Group
from gpt_from_scratch.training.random_state import RandomState
from gpt_from_scratch.training.sharding import exchanging, whole
from gpt_from_scratch.training.tasks import Task, mean_loss


@dataclass(frozen=True)
class Record:
    """One figure of a training.

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
    """The position of a training right after an update, before an evaluation or a sample of its step.

    With the weights and the optimizer's state of that moment, `train` resumes from here as if it had never stopped.

    Attributes:
        step, epoch, seen: as in `Record`.
        batches: batches drawn in this epoch.
        loss, lr, grad_norm: the update's figures.
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


@dataclass(frozen=True)
class LoopSettings:
    """The length of a training, its evaluations and its updates.

    Attributes:
        epochs: passes over the training split.
        eval_every: steps between two evaluations; the first is after step 0.
        eval_batches: batches per evaluation and loader; all if None.
        schedule: learning rate per step, of a parameter group with `lr_share` that share of it; the optimizer's own if
            None.
        max_grad_norm: gradients are scaled down to this norm, from `clip_from_step` on; no clipping if None.
        accumulation_steps: batches of one update, which is that of one large batch; what is left of an epoch after the
            last full update is not trained on, as by a loader that drops its last, smaller batch.
        stop: called with the newest step before each update, -1 before the first; true ends the training, and with it
            the epoch.
    """

    epochs: int
    eval_every: int
    eval_batches: int | None = None
    schedule: Callable[[int], float] | None = None
    max_grad_norm: float | None = None
    clip_from_step: int = 0
    accumulation_steps: int = 1
    stop: Callable[[int], bool] = lambda step: False


def train(
    model: nn.Module,
    task: Task,
    loaders: Loaders,
    optimizer: torch.optim.Optimizer,
    settings: LoopSettings,
    *,
    callbacks: Sequence[Callback] = (),
    start: Position | None = None,
    group: Group = ALONE,
) -> Iterator[Record]:
    """Train `model` on its device; hand every record to the callbacks and yield it.

    Args:
        callbacks: are told of every update and of every record.
        start: position to resume from; the model and the optimizer have to be those of that moment.
        group: the ranks that train together; `model` is then `Spread.called`. Each yields the same records.

    Raises:
        InputError: when a loss or a gradient is not finite; the update is not made. When that of an evaluation is not.

    After the record named `epoch` the model is in evaluation mode, so that a sample can be generated.
    """
    device = next(model.parameters()).device
    evaluator = Evaluator(device, settings.eval_batches, group)

    step, seen, epoch = (start.step, start.seen, start.epoch) if start else (-1, 0, 1)

    def report(name: str, value: float) -> Record:
        record = Record(step, name, value, epoch, seen)
        for callback in callbacks:
            callback.log(record)
        return record

    def measure(position: Position) -> Iterator[Record]:
        yield report("loss", position.loss)
        yield report("lr", position.lr)
        yield report("grad_norm", position.grad_norm)
        if step % settings.eval_every == 0:
            model.eval()
            for name, loader in zip(("train_loss", "validation_loss"), loaders, strict=True):
                value = mean_loss(task, model, loader, evaluator)
                if not math.isfinite(value) and len(loader):  # what no later update would notice after the last one
                    raise _not_finite(f"step {step}, epoch {epoch}", f"{name} {value}", position.lr)
                yield report(name, value)
            model.train()

    for epoch in range(epoch, settings.epochs + 1):  # noqa: B020
        model.train()
        resumed = start if start and start.epoch == epoch else None
        if resumed:
            resumed.epoch_random.restore(device)
        epoch_random = RandomState.capture(device)
        batches = iter(loaders[0])
        drawn = 0
        if resumed:
            drawn = sum(1 for _ in islice(batches, resumed.batches))
            resumed.random.restore(device)
            yield from measure(resumed)
        while not (stopped := settings.stop(step)):
            parts = list(islice(batches, settings.accumulation_steps))
            if len(parts) < settings.accumulation_steps:
                break
            step += 1
            drawn += len(parts)
            if settings.schedule is not None:
                for parameters in optimizer.param_groups:
                    parameters["lr"] = settings.schedule(step) * parameters.get("lr_share", 1.0)
            lr = optimizer.param_groups[0]["lr"]
            optimizer.zero_grad()
            loss = _backward(model, task, parts, device, group, drawn)
            grad_norm = _clip(model, settings.max_grad_norm if step >= settings.clip_from_step else None)
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                raise _not_finite(
                    f"step {step}, batch {drawn} of epoch {epoch}: the update was not made",
                    f"loss {loss} and gradient norm {grad_norm}",
                    lr,
                )
            with group.signals.uninterrupted():
                optimizer.step()
                seen += sum(task.count(batch) for batch in parts)
                position = Position(
                    step, epoch, seen, drawn, loss, lr, grad_norm, epoch_random, RandomState.capture(device)
                )
                for callback in callbacks:
                    callback.after_update(position)
            yield from measure(position)
        model.eval()
        for name, value in task.scores(model, loaders, evaluator):
            yield report(name, value)
        yield report("epoch", float(epoch))
        if stopped:
            return


def _not_finite(place: str, found: str, lr: float) -> InputError:
    return InputError(
        f"{place}: expected finite numbers, found {found} at learning rate {lr:g}: "
        "lower the learning rate, warm up, or clip the gradients"
    )


def _backward(
    model: nn.Module, task: Task, parts: list[Batch], device: torch.device, group: Group, drawn: int
) -> float:
    """Accumulate the gradients of some batches, each row by its share of the targets' weight; return the mean loss.

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
            # Rows without anything to learn have no loss, but the other ranks wait for this rank's gradients.
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
