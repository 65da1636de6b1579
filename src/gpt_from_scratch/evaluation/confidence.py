"""The worth of an accuracy: its interval, and the paired test of two models on one test set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import comb, sqrt

Z = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""
NOISE = 0.05
"""From this p on, a difference is called noise."""


def wilson(share: float, items: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `items`, by Wilson's score (1927): it holds near 0 and 1 and for few."""
    middle, scale = share + Z**2 / (2 * items), 1 + Z**2 / items
    margin = Z * sqrt(share * (1 - share) / items + Z**2 / (4 * items**2))
    return max(0.0, (middle - margin) / scale), min(1.0, (middle + margin) / scale)


def mcnemar(gained: int, lost: int) -> float:
    """Return p of McNemar's exact test: as many items, or more, would fall to one side of a fair coin, either side.

    Args:
        gained: items that the one model has right and the other wrong; `lost`: the reverse.
    """
    number = gained + lost
    tail = sum(comb(number, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**number)


def marks(rows: Iterable[Mapping[str, str]]) -> str:
    """Return a 1 for each item that was predicted right, else a 0; rows of `confusion.csv`, in the test set's order."""
    return "".join(str(int(row["actual"] == row["predicted"])) for row in rows)


def paired(now: str, before: str) -> str:
    """Say whether two models differ by more than noise, from their `marks` on the same items."""
    gained, lost = (sum(a > b for a, b in zip(*two, strict=True)) for two in ((now, before), (before, now)))
    p = mcnemar(gained, lost)
    return (
        f"{'within' if p >= NOISE else 'beyond'} noise (McNemar's exact test: p = {p:.2g}; of {len(now):,} items, "
        f"{gained:,} only now right, {lost:,} only before)"
    )
