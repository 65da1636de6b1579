"""The timer of measurements and benchmarks: several works in turn, in one run, medians; it needs PyTorch alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Say = Callable[[str], object]


@dataclass
class Timing:
    """The figures of one form of a measurement.

    Attributes:
        ours: figures by column; empty where it was not measured.
        marks: why not, or why it cannot be compared.
    """

    ours: dict[str, float] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)


def in_turn(works: Mapping[str, Callable[[], object]], repeats: int = 3, warmup: int = 1) -> dict[str, float]:
    """Run every work `warmup` times unmeasured, then all of them in turn, `repeats` times.

    Returns:
        The median time of each in seconds, by name. A slow moment of the machine falls on all alike.
    """
    for work in works.values():
        for _ in range(warmup):
            work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in times.items()}


def wait(device: torch.device | str) -> None:
    """Wait until a GPU has finished its work; a CPU has when a function returns."""
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
