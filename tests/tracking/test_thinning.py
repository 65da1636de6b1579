"""Thinning and speed."""

from __future__ import annotations

import pytest

from gpt_from_scratch.tracking.thinning import Speed, Thinner


@pytest.mark.parametrize(("updates", "points"), [(100, 100), (650, 277), (10_000, 488), (100_000, 662)])
def test_few_points_are_left_of_many(updates, points) -> None:
    thinner = Thinner()
    assert sum(thinner.keep("loss", step) for step in range(updates)) == points


def test_names_are_thinned_alike() -> None:
    thinner = Thinner()
    kept = [(thinner.keep("loss", step), thinner.keep("lr", step)) for step in range(2000)]
    assert all(loss == lr for loss, lr in kept)


def test_speed_leaves_out_evaluations_and_the_first_update() -> None:
    now = 0.0
    speed = Speed(lambda: now)

    def after(seconds: float, seen: int) -> None:
        nonlocal now
        now += seconds
        speed.update(seen)
        speed.pause()

    after(100, 8)  # nobody said when it began
    assert speed.since_last() is None
    after(2, 16)
    assert speed.since_last() == 4
    now += 1000  # an evaluation
    speed.pause()
    after(2, 24)
    after(1, 32)
    assert speed.since_last() == pytest.approx(16 / 3)
    speed.pause(forget=True)  # an epoch's end, with a sample after it
    after(50, 40)
    assert speed.since_last() is None
    assert speed.mean() == pytest.approx(24 / 5)
