"""A training's progress: a bar on a terminal, a sparse line in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol

from tqdm import tqdm

_LINE_EVERY_SECONDS = 30.0


class _Record(Protocol):
    @property
    def step(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def epoch(self) -> int: ...
    @property
    def seen(self) -> int: ...


class TrainingProgress:
    """Shows epoch, losses, speed and time left; entered with `with`.

    Args:
        name: what is being trained.
        total_steps: updates of the whole training.
        unit: what a record's `seen` counts.
        shown: False in all but one of several processes.
    """

    def __init__(self, name: str, total_steps: int, unit: str = "tokens", shown: bool = True) -> None:
        self._unit = unit
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total_steps,
            desc=name,
            unit="step",
            mininterval=0.5 if terminal else _LINE_EVERY_SECONDS,
            maxinterval=10 if terminal else 2 * _LINE_EVERY_SECONDS,
            dynamic_ncols=terminal,
            disable=not shown,
        )
        self._shown: dict[str, str] = {}
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()

    def log(self, record: _Record) -> None:
        """Show one record."""
        if record.name == "loss":
            self._shown |= {"epoch": str(record.epoch), "loss": f"{record.value:.3f}"}
            now = time.monotonic()
            if self._began is None:  # a training that goes on begins at a later step
                self._began = now, record.seen
                # tqdm reckons the whole from `initial`, the latest from `last_print_n`
                self._bar.initial = self._bar.n = self._bar.last_print_n = record.step
            else:
                since, seen = self._began
                self._shown[f"{self._unit}/s"] = f"{(record.seen - seen) / max(now - since, 1e-9):.0f}"
            self._bar.set_postfix(self._shown, refresh=False)
            self._bar.update(record.step + 1 - self._bar.n)
        elif record.name in ("validation_loss", "validation_accuracy"):
            self._shown[record.name] = f"{record.value:.3f}"
