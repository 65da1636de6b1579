"""The training loop: the only one, for all three trainings (chapters 5 to 7, appendix D).

It draws no random numbers of its own and takes any loader, so that under one seed it meets the same batches and the
same dropout as the book's functions do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader

from gpt_from_scratch.training.tasks import Batch, Task, mean_loss


@dataclass(frozen=True)
class Record:
    """One thing that the loop has to say.

    Attributes:
        step: number of the update, from 0.
        name: `loss`, `lr` and, with clipping, `grad_norm` after every update; `train_loss` and `validation_loss` at
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
) -> Iterator[Record]:
    """Train `model` and yield records as they arise.

    Args:
        eval_every: steps between two evaluations; the first is after step 0.
        eval_batches: batches per evaluation and loader; all if None.
        schedule: learning rate per step; the optimizer's own if None.
        max_grad_norm: gradients are scaled down to this norm, from `clip_from_step` on; no clipping if None.

    After the record named `epoch` the model is in evaluation mode, so that the caller can write a sample.
    """
    step, seen = -1, 0
    for epoch in range(1, epochs + 1):
        model.train()
        for batch in train_loader:
            step += 1
            optimizer.zero_grad()
            if schedule is not None:
                for group in optimizer.param_groups:
                    group["lr"] = schedule(step)
            loss = task.loss(model, batch, device)
            loss.backward()
            grad_norm = None
            if max_grad_norm is not None and step >= clip_from_step:
                grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
            optimizer.step()
            seen += task.count(batch)
            yield Record(step, "loss", loss.item(), epoch, seen)
            yield Record(step, "lr", optimizer.param_groups[0]["lr"], epoch, seen)
            if grad_norm is not None:
                yield Record(step, "grad_norm", grad_norm.item(), epoch, seen)
            if step % eval_every == 0:
                model.eval()
                yield Record(
                    step, "train_loss", mean_loss(task, model, train_loader, device, eval_batches), epoch, seen
                )
                yield Record(
                    step, "validation_loss", mean_loss(task, model, val_loader, device, eval_batches), epoch, seen
                )
                model.train()
        model.eval()
        for name, value in task.scores(model, train_loader, val_loader, device, eval_batches):
            yield Record(step, name, value, epoch, seen)
        yield Record(step, "epoch", float(epoch), epoch, seen)
