"""AdamW and its schedule beside loops by hand: nanoGPT's settings, tied weights, matrices and vectors, warm-up."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.initial import draw_gpt2_weights
from gpt_from_scratch.training.fit import fit, total_steps
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.tasks import LanguageModelling

STEPS, WARMUP = 20, 5
LR, MIN_LR, DECAY, BETAS, EPS = 3e-3, 3e-4, 0.1, (0.9, 0.95), 1e-8
NANOGPT = {
    "kind": "cosine",
    "warmup_steps": WARMUP,
    "initial_lr": LR / (WARMUP + 1),
    "min_lr": MIN_LR,
    "max_grad_norm": 1.0,
    "clip_warmup": True,
}


def changed(section, **changes):
    """Return a section with other values, validated."""
    return type(section).model_validate({**section.model_dump(), **changes})


def small_model(tied):
    torch.manual_seed(4)
    model = GPTModel(
        {
            "vocab_size": 50,
            "context_length": 8,
            "emb_dim": 16,
            "n_heads": 2,
            "n_layers": 2,
            "drop_rate": 0.0,
            "qkv_bias": False,  # a bias of the keys has no gradient but rounding, which AdamW makes large
            "tie_weights": tied,
        }
    )
    draw_gpt2_weights(model)
    return model


def small_loaders():
    torch.manual_seed(6)
    ids = torch.randint(50, (26, 9))
    data = TensorDataset(ids[:, :-1], ids[:, 1:])
    return DataLoader(data, batch_size=4, shuffle=True, drop_last=True), DataLoader(data, batch_size=4)


def nanogpt_rate(step):
    """Return the learning rate of a step, counted from 0, by nanoGPT's rules."""
    if step < WARMUP:
        return LR * (step + 1) / (WARMUP + 1)
    share = (step - WARMUP) / (STEPS - WARMUP)
    return MIN_LR + (1 + math.cos(math.pi * share)) / 2 * (LR - MIN_LR)


def train_by_hand(model, batches):
    """Train by nanoGPT's rules, AdamW's formulas (Loshchilov & Hutter 2019, algorithm 2) written out.

    Yields the weights after every update, a tied matrix once.
    """
    weights = dict(model.named_parameters())
    means = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for step, (inputs, targets) in enumerate(batches):
        model.zero_grad()
        logits = model(inputs)
        torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1)).backward()
        norm = math.sqrt(sum(weight.grad.double().square().sum().item() for weight in weights.values()))
        with torch.no_grad():
            for name, weight in weights.items():
                gradient = weight.grad * min(1.0, 1.0 / (norm + 1e-6))
                means[name] = BETAS[0] * means[name] + (1 - BETAS[0]) * gradient
                squares[name] = BETAS[1] * squares[name] + (1 - BETAS[1]) * gradient**2
                mean = means[name] / (1 - BETAS[0] ** (step + 1))
                square = squares[name] / (1 - BETAS[1] ** (step + 1))
                if weight.dim() >= 2:
                    weight *= 1 - nanogpt_rate(step) * DECAY
                weight -= nanogpt_rate(step) * mean / (square.sqrt() + EPS)
        yield {name: weight.detach().clone() for name, weight in weights.items()}


class Remembering(LanguageModelling):
    """Remembers the batches that are trained on."""

    def __init__(self):
        self.batches = []

    def loss(self, model, batch, device):
        if model.training:
            self.batches.append(batch)
        return super().loss(model, batch, device)


@pytest.fixture
def nanogpt(params):
    """20 updates, in four epochs of six, with nanoGPT's settings."""
    optimizer = changed(params.optimizer, lr=LR, weight_decay=DECAY, decay="matrices", beta1=0.9, beta2=0.95, eps=EPS)
    return changed(params, max_steps=STEPS, optimizer=optimizer, schedule=changed(params.schedule, **NANOGPT))


@pytest.mark.parametrize("tied", [True, False])
def test_updates_are_nanogpts(nanogpt, recorder, tied):
    found, model, task = [], small_model(tied), Remembering()
    recorder.after_update = lambda position: found.append(
        {name: weight.detach().clone() for name, weight in model.named_parameters()}
    )
    fit(model, task, small_loaders(), nanogpt, [recorder])
    expected = list(train_by_hand(small_model(tied), task.batches))
    assert len(found) == len(expected) == STEPS
    assert ("out_head.weight" in found[0]) != tied
    for ours, theirs in zip(found, expected, strict=True):
        for name, weight in theirs.items():
            torch.testing.assert_close(ours[name], weight, rtol=0, atol=1e-5)
    rates = [record.value for record in recorder.records if record.name == "lr"]
    assert rates == pytest.approx([nanogpt_rate(step) for step in range(STEPS)])


def test_weight_decay_on_matrices_alone():
    model = small_model(tied=True)
    kept = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = build_optimizer(model, 1e-2, 0.5, decay="matrices")
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.detach(), kept[name] * (1 - 5e-3) if weight.ndim > 1 else kept[name])


def test_frozen_matrices_leave_one_group():
    model = small_model(tied=False)
    for weight in model.parameters():
        weight.requires_grad = weight.ndim < 2
    (group,) = build_optimizer(model, 1e-2, 0.5, decay="matrices").param_groups
    assert group["weight_decay"] == 0.0


@pytest.mark.parametrize(("steps", "epochs"), [(1, [1]), (6, [1]), (7, [1, 2]), (20, [1, 2, 3, 4])])
def test_max_steps_decides_on_the_length(training, recorder, steps, epochs):
    training.params = changed(training.params, max_steps=steps)
    _, journal, samples = training.run(callbacks=[recorder])
    assert journal.metrics()["steps"] == steps == sum(record.name == "loss" for record in recorder.records)
    assert [row["epoch"] for row in samples.rows] == epochs
    assert samples.rows[-1]["step"] == steps - 1
    assert recorder.records[-1].name == "epoch"


def test_as_many_steps_as_the_epochs_give_the_same_bits(training):
    by_epochs, _, _ = training.run()
    training.params = changed(training.params, epochs=1, max_steps=12)
    by_steps, _, _ = training.run()
    for name, value in by_epochs.state_dict().items():
        assert torch.equal(value, by_steps.state_dict()[name]), name


def test_a_warm_up_as_long_as_the_training_is_refused(training):
    schedule = changed(training.params.schedule, warmup_steps=12)
    training.params = changed(training.params, schedule=schedule)
    with pytest.raises(InputError, match=r"schedule.warmup_steps: expected fewer than the training's 12, found 12"):
        training.run()


def test_steps_of_warm_up_need_a_schedule(params):
    with pytest.raises(ValueError, match="warmup_steps is for kind cosine: expected 0 for constant, found 3"):
        changed(params.schedule, kind="constant", warmup_steps=3)


def test_max_steps_of_total_steps(params):
    assert total_steps(small_loaders()[0], changed(params, max_steps=3)) == 3


@pytest.mark.parametrize("decay", ["all", "matrices"])
def test_updates_are_pytorchs_adamw_to_the_bit(decay):
    models = [torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    ours = build_optimizer(models[0], 0.01, 0.1, decay=decay)
    matrices = [parameter for parameter in models[1].parameters() if parameter.ndim == 2]
    vectors = [parameter for parameter in models[1].parameters() if parameter.ndim == 1]
    apart = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    groups = apart if decay == "matrices" else models[1].parameters()
    theirs = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1, fused=True)
    for step in range(5):
        for model, optimizer in zip(models, (ours, theirs), strict=True):
            optimizer.zero_grad()
            model(torch.full((3, 4), 0.1 * step + 0.1)).square().sum().backward()
            optimizer.step()
        if step == 2:
            ours.load_state_dict(ours.state_dict())
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_training_does_not_load_the_compiler(root):
    """It takes two seconds, which every stage waited."""
    code = """if True:
        import sys
        import torch
        from gpt_from_scratch.params.sections import Runtime
        from gpt_from_scratch.training.environment import prepare
        from gpt_from_scratch.training.optimizer import build_optimizer
        prepare(Runtime(device="cpu", threads=1, deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
        for kind in ("adamw", "muon"):
            model = torch.nn.ModuleDict({"trf_blocks": torch.nn.Linear(2, 2)})
            optimizer = build_optimizer(model, 0.01, 0.1, kind=kind)
            model["trf_blocks"](torch.ones(2)).sum().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            optimizer.load_state_dict(optimizer.state_dict())
        print("torch._dynamo" in sys.modules)"""
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert answer.stdout.strip() == "False", answer.stderr
