"""The weights with the lowest validation loss, and the end of a training that no longer lowers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.sharding import Spread, part

if TYPE_CHECKING:
    from gpt_from_scratch.training.journal import Journal
    from gpt_from_scratch.training.loop import Record


class Best(Callback):
    """Keeps the trained weights of the evaluation with the lowest validation loss.

    Losses are compared by the journal's rows, which a resumed training has too; of equal ones the earlier counts.

    Args:
        spread: the model; every rank keeps what it holds of it.
        journal: is called before this.
        keep: `last`: no weights are kept.
        patience: evaluations without a lower loss that end the training; 0: none do.
    """

    def __init__(self, spread: Spread, journal: Journal, keep: Literal["last", "best"], patience: int) -> None:
        self._spread, self._journal, self._patience = spread, journal, patience
        self.keeps = keep == "best"
        self.used = self.keeps or patience > 0
        self._step: int | None = None
        self._weights: dict[str, Tensor] = {}

    @property
    def stale(self) -> bool:
        """True if the training ends for lack of a lower loss."""
        rows = self._journal.rows
        return 0 < self._patience <= len(rows) - 1 - self._lowest() if rows else False

    def log(self, record: Record) -> None:
        """Copy the weights at the end of an evaluation with the lowest loss so far."""
        if self.used and record.name == "validation_loss" and self._lowest() == len(self._journal.rows) - 1:
            self._step = record.step
            if self.keeps:
                self._weights = {name: weight.detach().clone() for name, weight in self._trained().items()}

    def finish(self) -> None:
        """Put the kept weights into the model, and note their step and loss in the journal; all ranks take part."""
        if self._step is None:
            return
        row = next(row for row in self._journal.rows if row["step"] == self._step)
        self._journal.best = {"best_step": self._step, "best_validation_loss": row["validation_loss"]}
        if self.keeps:
            with torch.no_grad():
                for name, weight in self._trained().items():
                    weight.copy_(self._weights[name])
            self._spread.gather()

    def state_dict(self) -> dict[str, Any]:
        """Return the step of the kept weights."""
        return {} if self._step is None else {"step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the step of an earlier process's weights."""
        self._step = state["step"]

    def tensors(self) -> dict[str, Tensor]:
        """Return the kept weights by name."""
        return self._weights

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take the weights of an earlier process."""
        own = self._trained()
        self._weights = {name: part(tensor.to(own[name].device), own[name]) for name, tensor in tensors.items()}

    def _lowest(self) -> int:
        losses = [row["validation_loss"] for row in self._journal.rows]
        return losses.index(min(losses))

    def _trained(self) -> dict[str, Tensor]:
        if self._spread.sharded:
            self._spread.trained.reshard()  # an evaluation leaves the weights outside the blocks whole
        named = self._spread.trained.named_parameters()
        return {name: parameter for name, parameter in named if parameter.requires_grad}
