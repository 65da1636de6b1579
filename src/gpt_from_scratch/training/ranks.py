"""The cores of this process, its rank among those of a training, and requests to end it. Imports no PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NoReturn, Protocol

from gpt_from_scratch.errors import InputError

_RENDEZVOUS = "GPT_RENDEZVOUS"


def usable_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ProcessLost(InputError):
    """Another rank of the same training is gone."""


@dataclass(frozen=True)
class Place:
    """This process's rank.

    Attributes:
        rank: from 0; rank 0 writes.
        size: number of ranks.
        local_rank: rank on this machine.
        local_size: number of ranks on this machine.
        rendezvous: the file through which the ranks find each other; None under torchrun, which has its own way.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    rendezvous: str | None = None

    @property
    def first(self) -> bool:
        """Return whether this is rank 0."""
        return self.rank == 0

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Place:
        """Return this process's rank from the variables that torchrun sets, and `environment` returns."""
        size = int(environment.get("WORLD_SIZE", 1))
        return cls(
            int(environment.get("RANK", 0)),
            size,
            int(environment.get("LOCAL_RANK", 0)),
            int(environment.get("LOCAL_WORLD_SIZE", size)),
            environment.get(_RENDEZVOUS),
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that `here` reads."""
        numbers = {
            "RANK": self.rank,
            "WORLD_SIZE": self.size,
            "LOCAL_RANK": self.local_rank,
            "LOCAL_WORLD_SIZE": self.local_size,
        }
        return {name: str(number) for name, number in numbers.items()} | {_RENDEZVOUS: self.rendezvous or ""}


class Signals(Protocol):
    """Requests to end the process, Ctrl-C and SIGTERM, raised as exceptions. The module `pipeline.signals` is one."""

    def uninterrupted(self) -> AbstractContextManager[None]:
        """Delay requests to the end of the block."""

    def waiting(self) -> int:
        """Return the number of the signal that is delayed; 0 if none is."""

    def ignore(self) -> None:
        """Ignore requests from here on, and forget a delayed one."""

    def end(self, number: int) -> NoReturn:
        """Raise the exception of a signal."""


class NoSignals(Signals):
    """Signals as they are without a listener, such as in a notebook: none is delayed."""

    def uninterrupted(self) -> AbstractContextManager[None]:  # noqa: D102
        return nullcontext()

    def waiting(self) -> int:  # noqa: D102
        return 0
