"""The worth of an accuracy: its interval, and the paired tests of two models on one test set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import sqrt

Z = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""
NOISE = 0.05
"""From this p on, a difference is called noise."""
FLIPS = 2**13
"""Signs of differences tried by `sign_flips`: all of them up to 13 differences, else random ones."""


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
    tail = ways = 1
    for k in range(min(gained, lost)):
        ways = ways * (number - k) // (k + 1)  # of choosing k + 1 items: each anew would take minutes for ten thousands
        tail += ways
    return min(1.0, 2 * tail / 2**number)


def sign_flips(differences: Sequence[float]) -> float:
    """Return p of the paired randomization test (Fisher 1935): of a mean as far from 0, if each sign were a coin's.

    Many differences have their signs drawn, with a fixed seed, and what was found counts as one of the draws.
    """
    import numpy as np  # most who import this module show an interval alone

    moved = np.array([one for one in differences if one])
    exact, rng = 2 ** len(moved) <= FLIPS, np.random.default_rng(123)
    signs = product((-1, 1), repeat=len(moved)) if exact else (rng.choice((-1, 1), len(moved)) for _ in range(FLIPS))
    sums = np.abs([np.dot(flipped, moved) for flipped in signs])
    as_far = int((sums >= abs(moved.sum()) - 1e-9 * abs(moved).sum()).sum())
    return as_far / len(sums) if exact else (as_far + 1) / (FLIPS + 1)


def marks(rows: Iterable[Mapping[str, str]]) -> str:
    """Return a 1 for each item that was predicted right, else a 0; rows of `confusion.csv`, in the test set's order."""
    return "".join(str(int(row["actual"] == row["predicted"])) for row in rows)


def paired(now: str, before: str) -> str:
    """Say whether two models differ by more than noise, from their `marks` on the same items."""
    gained, lost = (sum(a > b for a, b in zip(*two, strict=True)) for two in ((now, before), (before, now)))
    p = mcnemar(gained, lost)
    return (
        f"{_noise(p)} (McNemar's exact test: p = {p:.2g}; of {len(now):,} items, {gained:,} only now right, {lost:,} "
        "only before)"
    )


def paired_means(now: Sequence[float], before: Sequence[float]) -> str:
    """Say whether the means of two models differ by more than noise, from their scores of the same answers."""
    p = sign_flips([a - b for a, b in zip(now, before, strict=True)])
    return f"{_noise(p)} (paired sign-flip test: p = {p:.2g}; {len(now):,} answers)"


def _noise(p: float) -> str:
    return f"{'within' if p >= NOISE else 'beyond'} noise"
