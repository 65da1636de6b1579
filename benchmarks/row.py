"""A line of the benchmark's table, and the machine's ceiling for matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from gpt_from_scratch.experiments.timing import in_turn, wait


class LeftOut(Exception):
    """A benchmark cannot be made here, such as one for a GPU where there is none; says what is missing."""


@dataclass(frozen=True)
class Row:
    """One work, done by us and by others.

    Attributes:
        work: what was done, with its sizes.
        ours: our median time in seconds.
        peers: each peer's median time in seconds, by its name and version.
        agreement: which results were compared with the peers', and how closely they agree; where they do not agree,
            `rows` raises instead.
        at_least: how many times faster than the fastest of `peers` we mean to be; None where only the figure counts.
        bound: shortest time in seconds that this machine's matrix products or memory allow, where that is known.
        at_most: longest time in seconds that we mean to take, where the aim is a speed and not a ratio.
        figures: further figures by name, such as peak memory in bytes.
    """

    work: str
    ours: float
    peers: Mapping[str, float]
    agreement: str
    at_least: float | None = None
    bound: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    at_most: float | None = None

    @property
    def ratio(self) -> float:
        """The fastest peer's time over ours."""
        return min(self.peers.values()) / self.ours

    @property
    def reached(self) -> bool | None:
        """True if the row's aims were reached; None where it has none."""
        aims = [] if self.at_least is None else [self.ratio >= self.at_least]
        if self.at_most is not None:
            aims.append(self.ours <= self.at_most)
        return all(aims) if aims else None


def matrix_product_flops(
    size: int = 2048, repeats: int = 9, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> float:
    """Return how many floating-point operations per second a square matrix product does here: the ceiling."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def product() -> None:
        a @ b
        wait(device)

    return 2 * size**3 / in_turn({"product": product}, repeats, warmup=3)["product"]
