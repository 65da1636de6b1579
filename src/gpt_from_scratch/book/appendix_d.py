"""Appendix D: warm-up, cosine decay and gradient clipping."""

from __future__ import annotations

from tiktoken import Encoding
from torch import Tensor, nn
from torch.optim import Optimizer

from gpt_from_scratch.book.ch05 import calc_loss_batch, evaluate_model, generate_and_print_sample
from gpt_from_scratch.book.narration import Device, Loader, column, narrate
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.optimizer import Schedule
from gpt_from_scratch.training.tasks import LanguageModelling

__all__ = [
    "calc_loss_batch",
    "evaluate_model",
    "find_highest_gradient",
    "generate_and_print_sample",
    "train_model",
]


def find_highest_gradient(model: nn.Module) -> Tensor | None:
    """Return the largest entry of all gradients, a scalar; None where there are none."""
    largest = [parameter.grad.max() for parameter in model.parameters() if parameter.grad is not None]
    return max(largest, default=None)


def train_model(
    model: nn.Module,
    train_loader: Loader,
    val_loader: Loader,
    optimizer: Optimizer,
    device: Device,
    n_epochs: int,
    eval_freq: int,
    eval_iter: int | None,
    start_context: str,
    tokenizer: Encoding,
    warmup_steps: int,
    initial_lr: float = 3e-05,
    min_lr: float = 1e-6,
    orig_book_version: bool = False,
) -> tuple[list[float], list[float], list[int], list[float]]:
    """Train as `ch05.train_model_simple` does, with a schedule and with gradients clipped to the norm 1.

    Args:
        warmup_steps: steps from `initial_lr` to the optimizer's learning rate, which then falls towards `min_lr` along
            half a cosine. 0 goes without.
        orig_book_version: clip from the second step after the warm-up, as the first print did, not from the first.

    Returns:
        Training losses, validation losses and tokens seen at every evaluation; the learning rate of every step.
    """
    schedule = Schedule(
        peak_lr=optimizer.param_groups[0]["lr"],
        initial_lr=initial_lr,
        min_lr=min_lr,
        warmup_steps=warmup_steps,
        total_steps=len(train_loader) * n_epochs,
    )
    settings = LoopSettings(
        n_epochs,
        eval_freq,
        eval_iter,
        schedule,
        max_grad_norm=1.0,
        clip_from_step=warmup_steps + 1 if orig_book_version else warmup_steps,
    )
    records = train(model, LanguageModelling(), (train_loader, val_loader), optimizer, settings)
    rows = narrate(
        records, lambda _: generate_and_print_sample(model, tokenizer, device, start_context), step_name="Iter"
    ).rows
    rates = [schedule(step) for step in range(schedule.total_steps)]
    return column(rows, "train_loss"), column(rows, "validation_loss"), column(rows, "seen"), rates
