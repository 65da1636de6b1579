"""Instruction tuning as in chapter 7 at full size: two epochs of updates, and an evaluation every five."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import islice

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.pretraining import CPU, SHAPE, largest_difference
from benchmarks.row import Row
from gpt_from_scratch.data.instructions.loaders import instruction_loaders
from gpt_from_scratch.experiments.timing import in_turn
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.tasks import LanguageModelling, mean_loss

TRAINING, VALIDATION = 935, 55
"""Entries in the book's training and validation sets."""

MEAN, SPREAD, SHORTEST, LONGEST = 56.4, 8.3, 40, 91
"""Tokens of the book's 1,100 entries with prompt and response: lengths are drawn from a normal distribution so."""

BATCH, EPOCHS, EVAL_EVERY, EVAL_BATCHES = 8, 2, 5, 5
STEPS = EPOCHS * (TRAINING // BATCH)
EVALUATIONS = -(-STEPS // EVAL_EVERY)
MEASURED = 3
LR, WEIGHT_DECAY, PAD = 5e-5, 0.1, 50256


class RandomEntries(Dataset[list[int]]):
    """Random token ids, as long as the book's entries are."""

    max_length = 1024

    def __init__(self, entries: int, vocab_size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        lengths = (MEAN + SPREAD * torch.randn(entries, generator=generator)).round().clamp(SHORTEST, LONGEST).int()
        self._entries = [torch.randint(vocab_size - 1, (n,), generator=generator).tolist() for n in lengths.tolist()]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> list[int]:
        return self._entries[index]


class Work:
    """One implementation's updates and evaluations.

    Args:
        loss: returns the loss of inputs and targets.
        evaluate: returns the losses of both sets.
        measured: updates that are made at a time.
    """

    def __init__(
        self,
        loader: DataLoader,
        optimizer: torch.optim.Optimizer,
        loss: Callable[[Tensor, Tensor], Tensor],
        evaluate: Callable[[], Iterable[float]],
        measured: int = MEASURED,
    ) -> None:
        self.losses: list[float] = []
        self._loader, self._optimizer, self._loss, self._evaluate = loader, optimizer, loss, evaluate
        self._measured = measured

    def updates(self) -> None:
        """Make a few updates on the first batches of an order that is always the same."""
        torch.manual_seed(123)
        for inputs, targets in islice(self._loader, self._measured):
            self._optimizer.zero_grad()
            loss = self._loss(inputs, targets)
            loss.backward()
            self._optimizer.step()
            self.losses.append(loss.item())

    def evaluation(self) -> None:
        """Evaluate on a few batches of each set."""
        torch.manual_seed(1)
        self.losses += self._evaluate()


def ours(model: GPTModel, loaders: tuple[DataLoader, DataLoader]) -> Work:
    """Return the work as this project does it."""
    task = LanguageModelling()

    def evaluate() -> list[float]:
        model.eval()
        losses = [mean_loss(task, model, loader, Evaluator(CPU, EVAL_BATCHES)) for loader in loaders]
        model.train()
        return losses

    optimizer = build_optimizer(model, LR, WEIGHT_DECAY)
    return Work(loaders[0], optimizer, lambda *batch: task.loss(model, batch, CPU), evaluate)


def reference(model: nn.Module, loaders: tuple[DataLoader, DataLoader]) -> Work:
    """Return the work as the functions of chapters 5 and 7 do it, as published."""
    from llms_from_scratch.ch05 import calc_loss_batch, evaluate_model

    return Work(
        loaders[0],
        torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY),
        lambda inputs, targets: calc_loss_batch(inputs, targets, model, CPU),
        lambda: evaluate_model(model, *loaders, CPU, EVAL_BATCHES),
    )


def rows(shape: GPTConfig = SHAPE) -> Iterator[Row]:
    """Yield a row for the book's batches and one for batches of similar lengths."""
    from llms_from_scratch.ch04 import GPTModel as ReferenceModel

    sets = tuple(RandomEntries(n, shape.vocab_size, seed) for seed, n in enumerate((TRAINING, VALIDATION)))
    cfg = replace(shape, context_length=128)
    torch.manual_seed(123)
    model = GPTModel(cfg)
    theirs = ReferenceModel(vars(cfg))
    theirs.load_state_dict(model.state_dict(), strict=False)
    pad = min(PAD, cfg.vocab_size - 1)
    plain = ours(model, instruction_loaders(*sets, BATCH, pad))
    book = reference(theirs, _reference_loaders(sets, pad))
    peer = f"llms_from_scratch {version('llms_from_scratch')}"
    works = {"ours": plain, peer: book}
    updates = in_turn({name: work.updates for name, work in works.items()}, repeats=2)
    evaluations = in_turn({name: work.evaluation for name, work in works.items()}, repeats=1, warmup=0)
    difference = largest_difference({"ours": plain.losses, peer: book.losses})
    how = f"{MEASURED} updates and one evaluation measured, counted {STEPS} and {EVALUATIONS} times; "
    times = {name: _training(updates[name], evaluations[name]) for name in works}
    work = f"instruction tuning, 124M, {TRAINING} entries, {EPOCHS} epochs, batch {BATCH}, evaluation included"
    agreement = f"{how}the losses of {len(plain.losses)} updates and evaluations agree to {difference:.0e} (relative)"
    yield Row(work, times["ours"], {peer: times[peer]}, agreement, at_least=1.4)

    grouped = ours(model, instruction_loaders(*sets, BATCH, pad, group_by_length=True))
    updates = in_turn({"ours": grouped.updates}, repeats=2)
    evaluations = in_turn({"ours": grouped.evaluation}, repeats=1, warmup=0)
    yield Row(
        f"{work}, batches grouped by length",
        _training(updates["ours"], evaluations["ours"]),
        {peer: times[peer]},
        f"{how}other batches than the peer's",
        at_least=1.8,
    )


def _training(updates: float, evaluation: float) -> float:
    return updates / MEASURED * STEPS + evaluation * EVALUATIONS


def _reference_loaders(sets: tuple[Dataset, Dataset], pad: int) -> tuple[DataLoader, DataLoader]:

    from llms_from_scratch.ch07 import custom_collate_fn

    collate = partial(custom_collate_fn, pad_token_id=pad)
    return (
        DataLoader(sets[0], BATCH, shuffle=True, drop_last=True, collate_fn=collate),
        DataLoader(sets[1], BATCH, shuffle=False, drop_last=False, collate_fn=collate),
    )


if __name__ == "__main__":
    for row in rows():
        print(row, f"ratio {row.ratio:.2f}", flush=True)
