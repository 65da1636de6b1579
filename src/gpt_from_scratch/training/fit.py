"""A whole training from its parameters: first losses, loop, schedule, samples, and going on after an interruption."""

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
from gpt_from_scratch.training.precision import accelerated
from gpt_from_scratch.training.process_group import ALONE, Group
from gpt_from_scratch.training.resuming import Saver
from gpt_from_scratch.training.sharding import Spread
from gpt_from_scratch.training.tasks import Batch, Task, mean_loss

if TYPE_CHECKING:
    from gpt_from_scratch.params.sections import Training


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

    def before(self, step: int) -> dict[str, Any]:
        """Return what was reported on the steps before a given one, JSON values."""
        reported = {"rows": self.journal.rows, "scores": self.journal.scores, "samples": self.samples}
        return {
            "initial": self.initial,
            **{name: [row for row in rows if row["step"] < step] for name, rows in reported.items()},
        }

    @classmethod
    def resumed(cls, history: dict[str, Any], listeners: Iterable[Listener]) -> Fit:
        """Return what `before` described, to go on with."""
        journal = Journal(listeners)
        journal.rows, journal.scores = history["rows"], history["scores"]
        return cls(journal, history["initial"], history["samples"])


def total_steps(train_loader: DataLoader[Batch], params: Training) -> int:
    """Return the number of updates of a training.

    Raises:
        InputError: when the training set does not suffice for one update.
    """
    updates = len(train_loader) // params.accumulation_steps
    if updates == 0:
        raise InputError(
            f"training set of {len(train_loader.dataset)} sequences: fewer than one batch of "
            f"{params.batch_size * params.accumulation_steps}"
        )
    return updates * params.epochs


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
    keep_sample: Callable[[dict[str, Any]], None] = lambda row: None,
    saver: Saver | None = None,
    group: Group = ALONE,
) -> Fit:
    """Train `model` in place, drawing from PyTorch's global generator as it stands.

    Args:
        loaders: for training and for validation.
        params: epochs, optimizer, schedule and how often to evaluate.
        listeners: are handed every record.
        initial_batches: batches per set that is measured on before training; all if None.
        write_sample: returns the text to keep after an epoch; the model is in evaluation mode then. It draws no random
            numbers.
        keep_sample: is handed every such text at once, with its `epoch` and `step`.
        saver: saves the training, and lets it go on where an earlier process ended: then the result is that of a
            training that was never interrupted, bit by bit.
        group: the processes that train together, all of which call this alike. The first one's model is trained in
            place, it alone writes samples and has listeners; with `sharding: full` the others' models are used up.

    Raises:
        InputError: when there are too few sequences, a figure is not finite, or the memory does not suffice.
    """
    if params.batch_size < group.size:
        raise InputError(
            f"batch_size: expected a sequence for each of {group.size} processes, found {params.batch_size}"
        )
    try:
        task = accelerated(task, params.precision, params.compile)
        with group.together():
            return _fit(
                model,
                task,
                loaders,
                params,
                device,
                listeners,
                initial_batches,
                write_sample,
                keep_sample,
                saver,
                group,
            )
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise InputError(_smaller_batches(params)) from error


def _fit(
    model: nn.Module,
    task: Task,
    loaders: tuple[DataLoader[Batch], DataLoader[Batch]],
    params: Training,
    device: torch.device,
    listeners: Iterable[Listener],
    initial_batches: int | None,
    write_sample: Callable[[], str] | None,
    keep_sample: Callable[[dict[str, Any]], None],
    saver: Saver | None,
    group: Group,
) -> Fit:
    steps = total_steps(loaders[0], params)
    listeners = listeners if group.first else ()
    spread = Spread(model, group)
    optimizer = build_optimizer(spread.trained, params.optimizer.lr, params.optimizer.weight_decay)
    if saver is not None and saver.found is not None:
        result = Fit.resumed(saver.found.state["history"], listeners)
    else:
        result = Fit(
            Journal(listeners),
            _initial_figures(spread.called, task, loaders, params.seed, device, initial_batches, group),
        )
    start = None if saver is None else saver.begin(spread, optimizer, device, result.before)
    schedule, warmup_steps = None, 0
    if params.schedule.kind == "cosine":
        warmup_steps = int(params.schedule.warmup_fraction * steps)
        schedule = Schedule(
            params.optimizer.lr, params.schedule.initial_lr, params.schedule.min_lr, warmup_steps, steps
        )
    records = train(
        spread.called,
        task,
        *loaders,
        optimizer,
        device,
        epochs=params.epochs,
        eval_every=params.eval_every,
        # As many sequences as without accumulation.
        eval_batches=params.eval_batches * params.accumulation_steps,
        schedule=schedule,
        max_grad_norm=params.schedule.max_grad_norm,
        clip_from_step=warmup_steps,
        accumulation_steps=params.accumulation_steps,
        start=start,
        on_update=(lambda position: None) if saver is None else saver.note,
        group=group,
    )
    for record in result.journal.follow(records):
        if record.name != "epoch" or write_sample is None:
            continue
        spread.gather()
        if group.first:
            result.samples.append({"epoch": record.epoch, "step": record.step, "text": write_sample()})
            keep_sample(result.samples[-1])
    if spread.sharded and saver is not None:
        saver.save()  # later the others are not there to save with
    spread.gather()
    return result


def _is_out_of_memory(error: Exception) -> bool:
    # On the CPU PyTorch raises a plain RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _smaller_batches(params: Training) -> str:
    size, steps = params.batch_size, params.accumulation_steps
    said = f"out of memory with batch_size {size} x accumulation_steps {steps}"
    factor = next((number for number in range(2, size + 1) if size % number == 0), None)
    if factor is None:
        return (
            f"{said}: a single sequence does not fit; take a smaller model, shorter sequences, or fewer trained layers"
        )
    smaller = f"batch_size {size // factor} x accumulation_steps {steps * factor}"
    return f"{said}: {smaller} gives the same updates in less memory"


def _initial_figures(
    model: nn.Module,
    task: Task,
    loaders: tuple[DataLoader[Batch], DataLoader[Batch]],
    seed: int,
    device: torch.device,
    num_batches: int | None,
    group: Group,
) -> dict[str, float]:
    """Measure without disturbing the random numbers that the training is about to draw."""
    mode = model.training
    model.eval()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        losses = [mean_loss(task, model, loader, device, num_batches, group) for loader in loaders]
        torch.manual_seed(seed)
        scores = dict(task.scores(model, *loaders, device, num_batches, group))
    model.train(mode)
    return {**dict(zip(("train_loss", "validation_loss"), losses, strict=True)), **scores}
