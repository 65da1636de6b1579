"""The interface of everything that listens to a training: trackers, progress bars, samples, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from gpt_from_scratch.training.loop import Position, Record


class Callback:
    """A listener of a training; each method does nothing unless it is overridden.

    With several processes, only rank 0's callbacks are called. A checkpoint holds the states by the classes' names.
    """

    def begin(self, steps: int) -> None:
        """Take the number of updates of the whole training; called before the first update."""

    def log(self, record: Record) -> None:
        """Take one record. After the record named `epoch` the model is whole and in evaluation mode."""

    def after_update(self, position: Position) -> None:
        """Take the position after an update, before the records of its step; no signal interrupts."""

    def close(self) -> None:
        """End; called after the last update, and when the training stops before it."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state to be saved in a checkpoint, JSON values; the records of its step are logged again."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Return tensors to be saved in a checkpoint beside the state, on every rank its parts."""
        return {}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take the whole tensors that an earlier process saved, on the CPU; called after `load_state_dict`."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state that `state_dict` of an earlier process returned; called before `begin`."""
