"""A whole training from its parameters: first losses, loop, schedule, samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.journal import Journal, Listener
from gpt_from_scratch.training.loop import train
from gpt_from_scratch.training.optimizer import Schedule, build_optimizer
from gpt_from_scratch.training.tasks import Batch, Task, mean_loss

if TYPE_CHECKING:
    from gpt_from_scratch.params import Training


@dataclass
class Fit:
    """What a training leaves beside the weights.

    Attributes:
        journal: evaluations and scores.
        initial: losses and scores before the first update.
        samples: one text per epoch: `epoch`, `step`, `text`.
    """

    journal: Journal
    initial: dict[str, float]
    samples: list[dict[str, Any]] = field(default_factory=list)

    def metrics(self) -> dict[str, Any]:
        """Return the figures of the training, for a metrics file."""
        scores = {name: value for row in self.journal.scores[-1:] for name, value in row.items() if name != "epoch"}
        scores.pop("step", None)
        return {**self.journal.summary(), "initial": self.initial, **({"last_epoch": scores} if scores else {})}


def total_steps(train_loader: DataLoader[Batch], params: Training) -> int:
    """Return the number of updates of a training.

    Raises:
        InputError: when the training set fills no batch.
    """
    if len(train_loader) == 0:
        raise InputError(
            f"training set of {len(train_loader.dataset)} sequences: fewer than one batch of {params.batch_size}"
        )
    return len(train_loader) * params.epochs


def fit(
    model: nn.Module,
    task: Task,
    loaders: tuple[DataLoader[Batch], DataLoader[Batch]],
    params: Training,
    device: torch.device,
    listeners: Iterable[Listener],
    *,
    initial_batches: int | None,
    write_sample: Callable[[], str] | None = None,
) -> Fit:
    """Train `model` in place, drawing from PyTorch's global generator as it stands.

    Args:
        loaders: for training and for validation.
        params: epochs, optimizer, schedule and how often to evaluate.
        listeners: are handed every record.
        initial_batches: batches per set that is measured on before training; all if None.
        write_sample: returns the text to keep after an epoch; the model is in evaluation mode then.
    """
    steps = total_steps(loaders[0], params)
    initial = _initial_figures(model, task, loaders, params.seed, device, initial_batches)
    result = Fit(Journal(listeners), initial)
    schedule, warmup_steps = None, 0
    if params.schedule.kind == "cosine":
        warmup_steps = int(params.schedule.warmup_fraction * steps)
        schedule = Schedule(
            params.optimizer.lr, params.schedule.initial_lr, params.schedule.min_lr, warmup_steps, steps
        )
    records = train(
        model,
        task,
        *loaders,
        build_optimizer(model, params.optimizer.lr, params.optimizer.weight_decay),
        device,
        epochs=params.epochs,
        eval_every=params.eval_every,
        eval_batches=params.eval_batches,
        schedule=schedule,
        max_grad_norm=params.schedule.max_grad_norm,
        clip_from_step=warmup_steps,
    )
    for record in result.journal.follow(records):
        if record.name == "epoch" and write_sample is not None:
            result.samples.append({"epoch": record.epoch, "step": record.step, "text": write_sample()})
    return result


def _initial_figures(
    model: nn.Module,
    task: Task,
    loaders: tuple[DataLoader[Batch], DataLoader[Batch]],
    seed: int,
    device: torch.device,
    num_batches: int | None,
) -> dict[str, float]:
    """Measure without disturbing the random numbers that the training is about to draw."""
    mode = model.training
    model.eval()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        losses = [mean_loss(task, model, loader, device, num_batches) for loader in loaders]
        torch.manual_seed(seed)
        scores = dict(task.scores(model, *loaders, device, num_batches))
    model.train(mode)
    return {**dict(zip(("train_loss", "validation_loss"), losses, strict=True)), **scores}
