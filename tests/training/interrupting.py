"""Interruptions of a training, and the comparison of its outcome with that of an uninterrupted one."""

from __future__ import annotations

import torch

from gpt_from_scratch.training.callback import Callback


class Interruption(BaseException):
    pass


class After(Callback):
    """Interrupts the training when a certain record comes for the first time."""

    def __init__(self, step, name):
        self.wanted, self.saver = (step, name), None

    def log(self, record):
        if (record.step, record.name) == self.wanted:
            raise Interruption


def assert_same(one, other):
    (model, journal, samples), (other_model, other_journal, other_samples) = one, other
    for name, value in model.state_dict().items():
        assert torch.equal(value, other_model.state_dict()[name]), name
    assert journal.metrics() == other_journal.metrics()
    assert journal.rows == other_journal.rows
    assert journal.scores == other_journal.scores
    assert samples.rows == other_samples.rows
