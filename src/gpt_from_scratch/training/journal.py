"""The records of a training as rows and figures, for metrics files and curves, and the samples of its epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpt_from_scratch.training.callback import Callback

if TYPE_CHECKING:
    from gpt_from_scratch.training.loop import Position, Record


class Journal(Callback):
    """The evaluations of one training.

    Attributes:
        initial: losses and scores before the first update.
        rows: one row per evaluation: `step`, `epoch`, `seen`, `lr`, `train_loss`, `validation_loss`.
        scores: one row per epoch for tasks with scores: `step`, `epoch` and the scores.
        best: `best_step` and `best_validation_loss` of a training that looked for them, once it is over.
    """

    def __init__(self) -> None:
        self.initial: dict[str, float] = {}
        self.rows: list[dict[str, Any]] = []
        self.scores: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self._lr = 0.0
        self._step = 0
        self._last: Record | None = None

    def after_update(self, position: Position) -> None:
        """Remember the step, whose records follow."""
        self._step = position.step

    def log(self, record: Record) -> None:
        """Add a record to its row."""
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

    def metrics(self) -> dict[str, Any]:
        """Return the figures of the training: updates, units seen, first and last losses, scores of the last epoch."""
        found: dict[str, Any] = {"steps": 0, "seen": 0}
        if self._last is not None:
            final = {name: self.rows[-1][name] for name in ("step", "train_loss", "validation_loss")}
            found = {"steps": self._last.step + 1, "seen": self._last.seen, "final": final}
        found |= {"initial": self.initial, **self.best}
        for row in self.scores[-1:]:
            found["last_epoch"] = {name: value for name, value in row.items() if name not in ("step", "epoch")}
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the rows of the steps before the checkpoint's."""
        rows = {"rows": self.rows, "scores": self.scores}
        return {"initial": self.initial, **{name: _before(self._step, found) for name, found in rows.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the rows of an earlier process."""
        self.initial, self.rows, self.scores = state["initial"], state["rows"], state["scores"]


class Samples(Callback):
    """Texts that the model generates, one after every epoch.

    Args:
        prompt: what the texts begin with.
        generate: returns the text of the model as it is now, in evaluation mode. It draws no random numbers.
        tell: is handed every row at once.

    Attributes:
        rows: one per epoch: `epoch`, `step`, `prompt`, `text` with its prompt.
    """

    def __init__(
        self, prompt: str, generate: Callable[[], str], tell: Callable[[dict[str, Any]], None] = lambda row: None
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self._prompt, self._generate, self._tell = prompt, generate, tell
        self._step = 0

    def after_update(self, position: Position) -> None:
        """Remember the step, whose records follow."""
        self._step = position.step

    def log(self, record: Record) -> None:
        """Generate a text at the end of an epoch."""
        if record.name == "epoch":
            row = {"epoch": record.epoch, "step": record.step, "prompt": self._prompt, "text": self._generate()}
            self.rows.append(row)
            self._tell(self.rows[-1])

    def state_dict(self) -> dict[str, Any]:
        """Return the rows of the steps before the checkpoint's."""
        return {"rows": _before(self._step, self.rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the rows of an earlier process."""
        self.rows = state["rows"]


def _before(step: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["step"] < step]
