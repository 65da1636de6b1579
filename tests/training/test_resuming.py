"""Going on after an interruption: the result is that of a training that was never interrupted."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from interrupting import After, Interruption, assert_same

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.lora import train_lora
from gpt_from_scratch.pipeline import signals as interruption
from gpt_from_scratch.training.adamw import AdamW
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.process_group import Group
from gpt_from_scratch.training.ranks import Place
from gpt_from_scratch.training.resuming import Saver
from gpt_from_scratch.training.tasks import LanguageModelling


@pytest.fixture(scope="module")
def whole(uninterrupted):
    return uninterrupted().run()


@pytest.mark.parametrize("name", ["loss", "grad_norm", "train_loss", "validation_loss", "epoch"])
@pytest.mark.parametrize("step", [0, 3, 5, 6, 9, 11])
def test_a_training_that_was_told_to_end_goes_on(training, whole, step, name):
    saver = Saver(Checkpoints(training.folder), 1e9)
    try:
        training.run(saver=saver, callbacks=[After(step, name)])
    except Interruption:
        saver.save()
        assert Checkpoints(training.folder).newest().step == step
    assert_same(training.run(every_seconds=1e9), whole)


@pytest.mark.parametrize("step", range(12))
def test_a_training_that_was_shot_goes_on_from_what_was_saved(training, whole, step):
    with pytest.raises(Interruption):
        training.run(every_seconds=0, callbacks=[After(step, "loss")])
    assert Checkpoints(training.folder).newest().step == step
    assert_same(training.run(every_seconds=0), whole)


@pytest.mark.parametrize("tied", [True, False])
def test_low_rank_updates_go_on(training, tied):
    def change(model):
        if tied:
            model.out_head.weight = model.tok_emb.weight
        train_lora(model, rank=2, alpha=4)

    whole = training.run(change=change)
    with pytest.raises(Interruption):
        training.run(every_seconds=0, callbacks=[After(5, "loss")], change=change)
    averages = Checkpoints(training.folder).newest().tensors("optimizer")
    assert {int(name.partition(".")[0]) for name in averages} == set(range(2 * 7))
    assert_same(training.run(every_seconds=0, change=change), whole)
    assert whole[0].out_head.lora.B.abs().max() > 0


def test_many_interruptions(training, whole):
    for step in (1, 2, 5, 6, 11):
        with pytest.raises(Interruption):
            training.run(every_seconds=0, callbacks=[After(step, "lr")])
    assert_same(training.run(every_seconds=0), whole)


def test_records_are_those_of_the_steps_that_follow(training, recorder):
    with pytest.raises(Interruption):
        training.run(every_seconds=0, callbacks=[After(4, "loss")])
    training.run(every_seconds=0, callbacks=[recorder])
    steps = [record.step for record in recorder.records if record.name == "loss"]
    assert steps == list(range(4, 12))


def test_saving_disturbs_nothing(training, whole):
    assert_same(training.run(every_seconds=0), whole)


def test_time_decides_when_to_save(training):
    now = iter(range(1000))
    training.run(saver=Saver(Checkpoints(training.folder), 5, clock=lambda: next(now)))
    steps = sorted(int(path.name.removeprefix("step-")) for path in training.folder.glob("step-*"))
    assert len(steps) == 2
    assert 1 < steps[1] - steps[0] <= 5


def test_accumulation_goes_on_too(training):
    training.params = training.params.model_copy(update={"batch_size": 2, "accumulation_steps": 2})
    whole = training.run()
    with pytest.raises(Interruption):
        training.run(every_seconds=0, callbacks=[After(7, "loss")])
    assert_same(training.run(every_seconds=0), whole)


class NotFinite(LanguageModelling):
    """The loss of one update is not finite."""

    def __init__(self, step, value):
        self.left, self.value = step, value

    def loss(self, model, batch, device):
        loss = super().loss(model, batch, device)
        if model.training:
            self.left -= 1
        return loss * self.value if self.left == -1 and model.training else loss


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_stops_the_training_before_the_update(training, value):
    saver = Saver(Checkpoints(training.folder), 0)
    message = r"step 7, batch 2 of epoch 2: the update was not made: .* found loss (nan|-?inf) and gradient norm .*"
    with pytest.raises(InputError, match=message + r" at learning rate 0\.0\d+: lower"):
        training.run(saver=saver, task=NotFinite(7, value))
    found = Checkpoints(training.folder).newest()
    assert found.step == 6
    assert all(torch.isfinite(tensor).all() for tensor in found.tensors("weights").values())


class BadGradient(LanguageModelling):
    """The loss is finite, a gradient is not."""

    def loss(self, model, batch, device):
        weight = model.out_head.weight
        # The derivative of a square root at 0 is infinite.
        return super().loss(model, batch, device) + (weight[0, 0] - weight[0, 0].detach()).abs().sqrt()


def test_a_gradient_that_is_not_finite_stops_the_training_too(training):
    with pytest.raises(InputError, match=r"step 0, batch 1 of epoch 1: .* gradient norm (nan|inf)"):
        training.run(task=BadGradient())


class Greedy(LanguageModelling):
    def loss(self, model, batch, device):
        return torch.empty(1 << 60)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (4, "batch_size 4 x accumulation_steps 1: batch_size 2 x accumulation_steps 2 gives the same updates"),
        (1, "a single sequence does not fit"),
    ],
)
def test_out_of_memory_says_what_gives_the_same_result(training, size, said):
    training.params = training.params.model_copy(update={"batch_size": size})
    with pytest.raises(InputError, match="out of memory with batch_size") as caught:
        training.run(task=Greedy())
    assert said in str(caught.value)


def test_no_room_on_the_disk(training, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match=r"expected 0\.0 GB of free disk .* found 0\.0 GB; make room"):
        training.run(every_seconds=0)


def test_a_signal_waits_for_the_end_of_the_update(training, whole, monkeypatch):
    monkeypatch.setattr(interruption, "_held", 0)
    old = [signal.getsignal(number) for number in interruption.SIGNALS]
    interruption.listen()
    group = Group(Place(), signals=interruption)
    saver = Saver(Checkpoints(training.folder), 1e9, group=group)
    inside = AdamW.step

    def shot(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return inside(self, *arguments, **options)

    try:
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
            patch.setattr(AdamW, "step", shot)
            training.run(saver=saver, group=group)
        assert caught.value.code == 143
        saver.save()
        assert Checkpoints(training.folder).newest().step == 0
        assert_same(training.run(every_seconds=1e9), whole)
    finally:
        for number, handler in zip(interruption.SIGNALS, old, strict=True):
            signal.signal(number, handler)
