"""Where a training's records end up: the same ones in the curves' file and with the tracker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from gpt_from_scratch.training.loop import Record


class Listener(Protocol):
    """Whoever else wants the records: a tracker, a progress bar."""

    def log(self, record: Record) -> None:
        """Take note of one record."""


class Journal:
    """Collects the evaluations of one training.

    Attributes:
        rows: one row per evaluation: `step`, `epoch`, `seen`, `lr`, `train_loss`, `validation_loss`.
        scores: one row per epoch for tasks that measure something then: `step`, `epoch` and the scores.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self.rows: list[dict[str, Any]] = []
        self.scores: list[dict[str, Any]] = []
        self._listeners = list(listeners)
        self._lr = 0.0
        self._last: Record | None = None

    def follow(self, records: Iterable[Record]) -> Iterator[Record]:
        """Note every record, hand it to the listeners and pass it on."""
        for record in records:
            self._note(record)
            for listener in self._listeners:
                listener.log(record)
            yield record

    def _note(self, record: Record) -> None:
        self._last = record
        place = {"step": record.step, "epoch": record.epoch}
        if record.name == "lr":
            self._lr = record.value
        elif record.name == "train_loss":
            self.rows.append({**place, "seen": record.seen, "lr": self._lr, "train_loss": record.value})
        elif record.name == "validation_loss":
            self.rows[-1]["validation_loss"] = record.value
        elif record.name not in ("loss", "grad_norm", "epoch"):
            if not self.scores or self.scores[-1]["step"] != record.step:
                self.scores.append(place)
            self.scores[-1][record.name] = record.value

    def summary(self) -> dict[str, Any]:
        """Return the number of updates, what they saw, and the last evaluation's losses."""
        if self._last is None:
            return {"steps": 0, "seen": 0}
        last = {name: self.rows[-1][name] for name in ("step", "train_loss", "validation_loss")}
        return {"steps": self._last.step + 1, "seen": self._last.seen, "final": last}
