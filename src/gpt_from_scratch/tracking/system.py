"""System metrics: load of processor, memory and disk, sampled between two updates.

MLflow's own sampler is a thread that sends by itself: a server that does not answer blocks it, and in a resumed run its
steps begin anew. Here the figures are sent with all others.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from gpt_from_scratch.tracking.facts import used_cuda

FIRST_SECONDS = 5.0
GROWTH = 1.05
"""Ratio of the times of two successive samples: a training of an hour has some 90 of them, of a day some 160."""


class Machine:
    """Sampler of processor, memory and a folder's disk, under the names of MLflow's page *System metrics*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = 0.0
        self._gone = False
        self._process: Any = None
        self.figures(0.0)  # the processor's load is measured since the last sample

    def figures(self, seconds: float, *, now: bool = False) -> dict[str, float]:
        """Return a sample, or nothing: while the next is not due after these `seconds` of work (unless `now`), or
        where the system does not allow it.
        """
        if self._gone or (seconds < self._next and not now):
            return {}
        self._next = max(seconds + FIRST_SECONDS, seconds * GROWTH)
        try:
            return self._measure()
        except Exception:  # a container may forbid any of it; the training continues without
            self._gone = True
            return {}

    def _measure(self) -> dict[str, float]:
        import psutil

        self._process = self._process or psutil.Process()
        memory = psutil.virtual_memory()
        found = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_cpu_percentage": self._process.cpu_percent(),
            "system/process_memory_megabytes": self._process.memory_info().rss / 1e6,
            "system/disk_available_megabytes": psutil.disk_usage(str(self._folder)).free / 1e6,
        }
        if cuda := used_cuda():
            with contextlib.suppress(RuntimeError):
                found["system/gpu_memory_usage_megabytes"] = cuda.memory_allocated() / 1e6
        return found
