"""Thinning of the figures of every update, because MLflow's pages freeze with too many points; and training speed."""

from __future__ import annotations

import time
from collections.abc import Callable

# As many points in every stretch in which the number of updates grows by a factor of e.
DENSITY = 75


class Thinner:
    """A choice of the updates to keep: all of the first 150, then ever fewer.

    Nothing needs to be known about the length of the training: 650 updates leave 277 points, 10,000 leave 488, and
    100,000 leave 662. In a resumed run, call `keep` first for the last update that was kept.
    """

    def __init__(self) -> None:
        self._following: dict[str, int] = {}

    def keep(self, name: str, step: int) -> bool:
        """Return whether the figure `name` of update `step` is kept; steps of a name come in rising order."""
        if step < self._following.get(name, 0):
            return False
        self._following[name] = step + max(1, step // DENSITY)
        return True


class Speed:
    """Training speed in units per second, without the time of evaluations and samples between updates.

    Attributes:
        total: units trained on, and the seconds they took; set it to resume the measurement.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._mark: float | None = None
        self._seen = 0
        self._window = (0, 0.0)
        self.total = (0, 0.0)

    def update(self, seen: int) -> None:
        """Note that an update just ended, with `seen` in all; it began when `pause` was last called."""
        if self._mark is not None:
            amount, seconds = seen - self._seen, self._clock() - self._mark
            self._window = (self._window[0] + amount, self._window[1] + seconds)
            self.total = (self.total[0] + amount, self.total[1] + seconds)
        self._seen = seen

    def pause(self, *, forget: bool = False) -> None:
        """Start the clock of the next update; or, with `forget`, leave that one out."""
        self._mark = None if forget else self._clock()

    def since_last(self) -> float | None:
        """Return the speed since this was last asked; None if nothing was measured."""
        (amount, seconds), self._window = self._window, (0, 0.0)
        return amount / seconds if seconds > 0 else None

    def mean(self) -> float | None:
        """Return the speed of the whole training; None if nothing was measured."""
        amount, seconds = self.total
        return amount / seconds if seconds > 0 else None
