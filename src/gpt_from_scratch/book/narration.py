"""Running the project's training loop as the book tells it: a printed line per evaluation, lists at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils.data import DataLoader

from gpt_from_scratch.training.batch import Batch
from gpt_from_scratch.training.journal import Journal
from gpt_from_scratch.training.loop import Record

Device = torch.device | str
Loader = DataLoader[Batch]


def narrate(records: Iterable[Record], after_epoch: Callable[[Journal], None], step_name: str = "Step") -> Journal:
    """Run a training to its end and return its journal.

    Args:
        records: those of `training.loop.train`.
        after_epoch: called at the end of every epoch, the model being in evaluation mode.
        step_name: what the printed line calls an update.
    """
    journal = Journal()
    for record in records:
        journal.log(record)
        if record.name == "validation_loss":
            row = journal.rows[-1]
            print(
                f"Ep {row['epoch']} ({step_name} {row['step']:06d}): "
                f"Train loss {row['train_loss']:.3f}, Val loss {row['validation_loss']:.3f}"
            )
        elif record.name == "epoch":
            after_epoch(journal)
    return journal


def column(rows: Iterable[dict[str, Any]], name: str) -> list[Any]:
    """Return one value of every row, as the book's lists hold them."""
    return [row[name] for row in rows]
