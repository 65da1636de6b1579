"""What the bar of a training says of its speed."""

from __future__ import annotations

import pytest

from gpt_from_scratch.pipeline.progress import TrainingProgress
from gpt_from_scratch.training.loop import Record

SECONDS = 60.0
"""Of each update; longer than what the bar waits between two lines."""


@pytest.fixture
def clock(monkeypatch):
    """The time of the bar, seconds, which passes only as a test says."""
    clock = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    return clock


@pytest.mark.parametrize("first", [0, 80])
def test_a_training_that_goes_on_counts_only_its_own_steps(clock, capfd, first):
    progress = TrainingProgress("training")
    progress.begin(100)
    for step in range(first, first + 3):
        clock[0] += SECONDS
        progress.log(Record(step, "loss", 1.0, epoch=1, seen=(step + 1) * 120))
    progress.close()
    lines = [line for line in capfd.readouterr().err.split("\r") if "loss=" in line]
    for done, line in zip(range(first + 1, first + 4), lines[:3], strict=True):
        assert f" {done}/100 " in line
        assert "60.00s/step" in line
    assert "tokens/s=2" in lines[-1]
