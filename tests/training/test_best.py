"""The weights with the lowest validation loss, and the end of a training that no longer lowers it."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from interrupting import After, Interruption, assert_same

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.lora import train_lora
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.resuming import Saver
from gpt_from_scratch.training.tasks import LanguageModelling


class Rising(LanguageModelling):
    """Has a validation loss that rises after step 3 and is lowest after step 9; the training loss is the real one."""

    LOSSES = (5.0, 4.0, 3.5, 3.0, 3.5, 3.0, 4.0, 3.1, 3.2, 2.0, 2.5, 2.5)

    def __init__(self):
        self.next = 9.0

    def loss(self, model, batch, device):
        loss = super().loss(model, batch, device)
        return loss if model.training else loss * 0 + self.next


class Watch(Callback):
    """Tells the task which step is measured next, and copies the weights of every step."""

    def __init__(self, task):
        self.task, self.weights, self.model = task, {}, None

    def after_update(self, position):
        self.weights[position.step] = {name: value.detach().clone() for name, value in self.model.named_parameters()}

    def log(self, record):
        if record.name == "loss":
            self.task.next = Rising.LOSSES[record.step]


def run(training, *callbacks, **options):
    """Train with the losses above; return the outcome and the weights of every step."""
    task = Rising()
    watch = Watch(task)
    found = training.run(
        callbacks=[watch, *callbacks], task=task, change=lambda model: setattr(watch, "model", model), **options
    )
    return found, watch.weights


def changed(training, **changes):
    section = training.params
    training.params = type(section).model_validate({**section.model_dump(), "eval_every": 1, **changes})
    return training


def assert_weights(model, expected):
    for name, value in model.named_parameters():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    ("settings", "steps", "left", "best"),
    [
        ({"keep": "last"}, 12, 11, {}),
        ({"keep": "best"}, 12, 9, {"best_step": 9, "best_validation_loss": 2.0}),
        ({"keep": "best", "patience": 6}, 12, 9, {"best_step": 9, "best_validation_loss": 2.0}),
        ({"keep": "best", "patience": 5}, 9, 3, {"best_step": 3, "best_validation_loss": 3.0}),
        ({"keep": "last", "patience": 2}, 6, 5, {"best_step": 3, "best_validation_loss": 3.0}),
        ({"keep": "best", "patience": 2, "max_steps": 5}, 5, 3, {"best_step": 3, "best_validation_loss": 3.0}),
    ],
)
def test_what_is_left(training, settings, steps, left, best):
    (model, journal, samples), weights = run(changed(training, **settings))
    metrics = journal.metrics()
    assert metrics["steps"] == steps == len(weights)
    assert {key: value for key, value in metrics.items() if key.startswith("best")} == best
    assert_weights(model, weights[left])
    assert not model.training
    assert samples.rows[-1]["step"] == steps - 1


SETTINGS = ({"keep": "best"}, {"keep": "best", "patience": 5}, {"keep": "last", "patience": 2})


@pytest.fixture(scope="module")
def whole(uninterrupted):
    """Return a function that gives the outcome of an uninterrupted training, each computed once."""
    return cache(lambda keep, patience=0: run(changed(uninterrupted(), keep=keep, patience=patience)))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("step", range(12))
def test_a_killed_training_is_resumed_to_the_same_bits(training, whole, settings, step):
    expected, weights = whole(**settings)
    if step >= len(weights):
        pytest.skip("ended before")
    with pytest.raises(Interruption):
        run(changed(training, **settings), After(step, "loss"), every_seconds=0)
    assert Checkpoints(training.folder).newest().step == step
    assert_same(run(training, every_seconds=0)[0], expected)


@pytest.mark.parametrize("name", ["train_loss", "validation_loss", "epoch"])
@pytest.mark.parametrize("step", [0, 3, 5, 9, 11])
def test_one_that_was_told_to_end_is_too(training, whole, step, name):
    if name == "epoch" and step not in (5, 11):
        pytest.skip("no epoch ends here")
    changed(training, keep="best")
    saver = Saver(Checkpoints(training.folder), 1e9)
    with pytest.raises(Interruption):
        run(training, After(step, name), saver=saver)
    saver.save()
    assert_same(run(training, every_seconds=1e9)[0], whole("best")[0])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_last_checkpoint_has_the_last_weights(training, settings):
    (model, _, _), weights = run(changed(training, **settings), every_seconds=1e9)
    found = Checkpoints(training.folder).newest()
    last = max(weights)
    assert found.step == last
    for name, value in found.tensors("weights").items():
        assert torch.equal(value, weights[last][name])
    assert bool(found.tensors("Best")) == (settings["keep"] == "best")
    again, _ = run(training, every_seconds=1e9)
    assert_weights(again[0], dict(model.named_parameters()))


def test_low_rank_updates_keep_the_trained_weights_alone(training):
    def change(model):
        train_lora(model, rank=2, alpha=4)

    changed(training, keep="best")
    whole = training.run(change=change)
    with pytest.raises(Interruption):
        training.run(every_seconds=0, callbacks=[After(5, "loss")], change=change)
    assert len(Checkpoints(training.folder).newest().tensors("Best")) == 2 * 7
    assert_same(training.run(every_seconds=0, change=change), whole)


def test_nothing_to_measure_on_is_refused(training):
    class Unmeasured(LanguageModelling):
        def weight(self, batch):
            return 0

    with pytest.raises(InputError, match="validation set: keep best and patience expect a sequence to measure on"):
        changed(training, keep="best").run(task=Unmeasured())
