"""A training's progress: a bar on a terminal, a sparse line in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from gpt_from_scratch.evaluation.figures import figure_text, label
from gpt_from_scratch.training.callback import Callback

if TYPE_CHECKING:
    from gpt_from_scratch.training.loop import Record

_LINE_EVERY_SECONDS = 30.0


class TrainingProgress(Callback):
    """Shows epoch, losses, speed and time left of a training; `unit` is that of a record's `seen`."""

    def __init__(self, name: str, unit: str = "tokens") -> None:
        self._name, self._unit = name, unit
        self._shown: dict[str, str] = {}
        self._began: tuple[float, int] | None = None

    def begin(self, steps: int) -> None:
        """Show an empty bar."""
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=steps,
            desc=self._name,
            unit="step",
            mininterval=0.5 if terminal else _LINE_EVERY_SECONDS,
            maxinterval=10 if terminal else 2 * _LINE_EVERY_SECONDS,
            dynamic_ncols=terminal,
        )

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[K")  # the bar of a stage beside this one may have stood on the next line

    def log(self, record: Record) -> None:
        """Show one record."""
        if record.name == "loss":
            self._shown |= {"epoch": str(record.epoch), "loss": figure_text(record.value)}
            now = time.monotonic()
            if self._began is None:  # a resumed training begins at a later step
                self._began = now, record.seen
                # tqdm reckons the whole from `initial`, the latest from `last_print_n`
                self._bar.initial = self._bar.n = self._bar.last_print_n = record.step
            else:
                since, seen = self._began
                self._shown[f"{self._unit}/s"] = f"{(record.seen - seen) / max(now - since, 1e-9):.0f}"
            self._bar.set_postfix(self._shown, refresh=False)
            self._bar.update(record.step + 1 - self._bar.n)
        elif record.name in ("validation_loss", "validation_accuracy"):
            self._shown[label(record.name)] = figure_text(record.value, record.name)
