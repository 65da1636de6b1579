"""A whole training from its parameters: first losses, optimizer, schedule, loop, and resuming."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import DataLoader

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.batch import Batch, Loaders
from gpt_from_scratch.training.best import Best
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.journal import Journal
from gpt_from_scratch.training.loop import LoopSettings, Record, train
from gpt_from_scratch.training.optimizer import Schedule, build_optimizer
from gpt_from_scratch.training.precision import accelerated
from gpt_from_scratch.training.process_group import ALONE, Evaluator, Group
from gpt_from_scratch.training.resuming import Saver
from gpt_from_scratch.training.sharding import Spread
from gpt_from_scratch.training.tasks import Task, mean_loss

if TYPE_CHECKING:
    from gpt_from_scratch.params.optimization import Optimizer
    from gpt_from_scratch.params.trainings import Training


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
    return params.max_steps or updates * params.epochs


def fit(
    model: nn.Module,
    task: Task,
    loaders: Loaders,
    params: Training,
    callbacks: Iterable[Callback] = (),
    *,
    initial_batches: int | None = None,
    saver: Saver | None = None,
    group: Group = ALONE,
) -> Journal:
    """Train `model` in place on its device, drawing from PyTorch's global generator as it stands.

    Args:
        loaders: for training and for validation.
        params: epochs, optimizer, schedule and how often to evaluate.
        callbacks: are called on rank 0.
        initial_batches: batches of each split that is measured on before training; all if None.
        saver: saves the training and resumes it where an earlier process ended: then the result is that of a training
            that was never interrupted, bit by bit.
        group: the ranks that train together, all of which call this alike. Rank 0's model is trained in place; with
            `sharding: full` the other ranks' models are used up.

    Returns:
        The evaluations and scores.

    Raises:
        InputError: when there are too few sequences, a figure is not finite, or the memory does not suffice.
    """
    if params.batch_size < group.size:
        raise InputError(
            f"batch_size: expected a sequence for each of {group.size} processes, found {params.batch_size}"
        )
    if group.sharding == "full" and group.size > 1 and params.optimizer.kind == "muon":
        raise InputError("optimizer.kind: expected adamw with runtime.sharding full, since muon needs whole matrices")
    task = accelerated(task, params.precision, params.compile)
    steps = total_steps(loaders[0], params)
    with _memory_advice(params), group.together():
        spread, journal = Spread(model, group), Journal()
        best = Best(spread, journal, params.keep, params.patience)
        listeners = [_Gathering(spread), journal, best, *(callbacks if group.first else ())]
        settings = loop_settings(params, steps, lambda step: step + 1 == steps or best.stale)
        optimizer = optimizer_for(spread.trained, params.optimizer)
        start = None if saver is None else saver.resume(spread, optimizer, listeners)
        if not journal.initial:
            evaluator = Evaluator(next(spread.called.parameters()).device, initial_batches, group)
            journal.initial = _initial_figures(spread.called, task, loaders, params.seed, evaluator)
        if best.used and math.isnan(journal.initial["validation_loss"]):
            raise InputError("validation set: keep best and patience expect a sequence to measure on, found none")
        with ExitStack() as closing:
            for callback in listeners:
                callback.begin(steps)
                closing.callback(callback.close)
            if saver is not None:
                listeners.append(saver)  # last, since it saves the states of those before it
            for _ in train(
                spread.called, task, loaders, optimizer, settings, callbacks=listeners, start=start, group=group
            ):
                pass
        if (spread.sharded or best.used) and saver is not None:
            # Later the other ranks are not there to save with, and the weights may be those of an earlier step.
            saver.save()
        best.finish()
    return journal


class _Gathering(Callback):
    """Makes rank 0's model whole at the end of an epoch, before another callback uses it."""

    def __init__(self, spread: Spread) -> None:
        self._spread = spread

    def log(self, record: Record) -> None:
        if record.name == "epoch":
            self._spread.gather()


def optimizer_for(model: nn.Module, params: Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer that the parameters ask for."""
    return build_optimizer(
        model,
        params.lr,
        params.weight_decay,
        kind=params.kind,
        decay=params.decay,
        betas=(params.beta1, params.beta2),
        eps=params.eps,
        muon_lr=params.muon_lr,
    )


def loop_settings(params: Training, steps: int, stop: Callable[[int], bool]) -> LoopSettings:
    """Return the settings of the loop for a training of so many updates; `stop` is `LoopSettings`' own.

    Raises:
        InputError: when the warm-up leaves no step for the rest.
    """
    schedule, warmup_steps = None, 0
    if params.schedule.kind == "cosine":
        warmup_steps = params.schedule.warmup_steps or int(params.schedule.warmup_fraction * steps)
        if warmup_steps >= steps:
            raise InputError(f"schedule.warmup_steps: expected fewer than the training's {steps}, found {warmup_steps}")
        schedule = Schedule(
            params.optimizer.lr, params.schedule.initial_lr, params.schedule.min_lr, warmup_steps, steps
        )
    return LoopSettings(
        params.max_steps or params.epochs,  # an epoch has at least one update
        params.eval_every,
        params.eval_batches * params.accumulation_steps,  # as many sequences as without accumulation
        schedule,
        params.schedule.max_grad_norm,
        0 if params.schedule.clip_warmup else warmup_steps,
        params.accumulation_steps,
        stop,
    )


@contextmanager
def _memory_advice(params: Training) -> Iterator[None]:
    """Turn a lack of memory into an error that names smaller batches.

    Raises:
        InputError: in the place of PyTorch's error.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise InputError(_smaller_batches(params)) from error


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
    model: nn.Module, task: Task, loaders: Loaders, seed: int, evaluator: Evaluator
) -> dict[str, float]:
    """Measure without disturbing the random numbers that the training is about to draw."""
    mode, device = model.training, evaluator.device
    model.eval()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        losses = [mean_loss(task, model, loader, evaluator) for loader in loaders]
        torch.manual_seed(seed)
        scores = dict(task.scores(model, loaders, evaluator))
    model.train(mode)
    return {**dict(zip(("train_loss", "validation_loss"), losses, strict=True)), **scores}
