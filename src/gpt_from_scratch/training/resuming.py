"""Saving a training at intervals, and resuming it where an earlier process was ended."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.best import Best
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.checkpoint import KEPT, Checkpoints, read_checkpoint
from gpt_from_scratch.training.loop import Position
from gpt_from_scratch.training.process_group import ALONE, Group
from gpt_from_scratch.training.random_state import RandomState
from gpt_from_scratch.training.sharding import Spread, part, whole

log = logging.getLogger(__name__)


class Saver(Callback):
    """Keeps a training's newest position and saves it: every so often, and when the process is requested to end.

    Unlike other callbacks it is called on every rank. Rank 0's looks for checkpoints and writes them, and all read.

    Args:
        checkpoints: the training's.
        every_seconds: time between two checkpoints, the most work that a kill can cost.
        group: the ranks that train together.

    Attributes:
        found: the newest checkpoint of an earlier process; None if this one is the first.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        group: Group = ALONE,
    ) -> None:
        self.found = checkpoints.newest() if group.first else None
        path = group.tell(str(self.found.path) if self.found else "")
        if path and not group.first:
            self.found = read_checkpoint(Path(path))
        self._checkpoints, self._every, self._clock = checkpoints, every_seconds, clock
        self._group = group
        self._position: Position | None = None
        self._saved_step = -1 if self.found is None else self.found.step

    def state_of(self, kind: type[Callback]) -> dict[str, Any] | None:
        """Return the state of a callback in the checkpoint that was found; None without one."""
        return self.found.state["callbacks"].get(kind.__name__) if self.found else None

    def resume(
        self, spread: Spread, optimizer: torch.optim.Optimizer, callbacks: Sequence[Callback]
    ) -> Position | None:
        """Take charge of a training; put model, optimizer and callbacks into the state that was found.

        Returns:
            The position to resume from; None at the training's beginning.

        Raises:
            InputError: when the disk has no room for the checkpoints and the trained model.
        """
        self._spread, self._optimizer, self._callbacks = spread, optimizer, list(callbacks)
        for callback in callbacks:
            if (state := self.state_of(type(callback))) is not None:
                callback.load_state_dict(state)
            if self.found is not None and (kept := self.found.tensors(type(callback).__name__)):
                callback.load_tensors(kept)
        if self._group.first:
            self._check_room()
        start = None
        if self.found is not None:
            fill(spread.trained, self.found.tensors("weights"))
            _fill_optimizer(optimizer, self.found.tensors("optimizer"))
            start = _position_from(self.found.state["position"])
            log.info("resuming after step %d, from %s", start.step, self.found.path)
        self._saved_at = self._clock()
        return start

    def after_update(self, position: Position) -> None:
        """Remember a position, and save it when it is time."""
        self._position = position
        due = self._clock() - self._saved_at >= self._every
        if self._spread.sharded:  # all have to take part
            due = bool(self._group.gather(due)[0][0])
        if due:
            self.save()

    def save(self) -> None:
        """Save the newest position, unless it is saved already."""
        position = self._position
        if position is None or position.step <= self._saved_step:
            return
        with self._group.signals.uninterrupted():
            weights = self._whole(parameters(self._spread.trained))
            moments = self._whole(_optimizer_tensors(self._optimizer))
            kept = {type(callback).__name__: self._whole(callback.tensors()) for callback in self._callbacks}
            if self._group.first:
                states = {type(callback).__name__: callback.state_dict() for callback in self._callbacks}
                state = {
                    "position": _position_to(position),
                    "callbacks": {name: content for name, content in states.items() if content},
                }
                kept = {name: tensors for name, tensors in kept.items() if tensors}
                self._checkpoints.save(position.step, {"weights": weights, "optimizer": moments, **kept}, state)
            self._saved_step, self._saved_at = position.step, self._clock()

    def _whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the whole tensors on rank 0, and nothing on the other ranks, whose parts it may need."""
        kept = {}
        for name, tensor in tensors.items():
            values = whole(tensor.detach())
            if self._group.first:
                kept[name] = values
        return kept

    def _check_room(self) -> None:
        own = parameters(self._spread.trained).values()
        weights = sum(p.numel() * p.element_size() for p in own)
        trained = sum(p.numel() * p.element_size() for p in own if p.requires_grad)
        # The checkpoints that are kept and one being written, with AdamW's two moments and the best weights; the model,
        # and DVC's copy.
        best = any(isinstance(callback, Best) and callback.keeps for callback in self._callbacks)
        needed = (KEPT + 1) * (weights + (2 + best) * trained) + 2 * weights - self._checkpoints.size()
        place = next(
            folder for folder in (self._checkpoints.folder, *self._checkpoints.folder.parents) if folder.is_dir()
        )
        if (free := shutil.disk_usage(place).free) < needed:
            raise InputError(
                f"{place}: expected {needed / 1e9:.1f} GB of free disk for checkpoints and the trained model, found "
                f"{free / 1e9:.1f} GB; make room, for instance with: gpt clean, dvc gc -w, gpt checkpoints"
            )


def parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's parameters by name, a shared one once."""
    return dict(model.named_parameters())


def fill(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy saved parameters into a model of the same shape."""
    own = parameters(model)
    if own.keys() != tensors.keys():
        raise InputError(f"checkpoint: expected the parameters {', '.join(own)}, found {', '.join(tensors)}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(part(tensors[name], like=parameter))


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def _fill_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        parameter = own[int(number)]
        state.setdefault(int(number), {})[name] = part(value, parameter) if value.shape == parameter.shape else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


_RANDOM = ("epoch_random", "random")


def _position_to(position: Position) -> dict[str, Any]:
    figures = {key: value for key, value in vars(position).items() if key not in _RANDOM}
    return {**figures, **{key: getattr(position, key).to_json() for key in _RANDOM}}


def _position_from(content: dict[str, Any]) -> Position:
    return Position(**content | {key: RandomState.from_json(content[key]) for key in _RANDOM})
