"""Muon beside PyTorch's own, and its state in a resumed training."""

from __future__ import annotations

import pytest
import torch
from interrupting import After, Interruption, assert_same

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.muon import orthogonalised
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.process_group import Group
from gpt_from_scratch.training.ranks import Place

LR, DECAY = 1e-2, 0.1
CFG = {"vocab_size": 20, "context_length": 8, "emb_dim": 16, "n_heads": 2, "n_layers": 2, "drop_rate": 0.0}
CFG["qkv_bias"] = True


@pytest.fixture
def with_muon(training):
    section = training.params
    changes = {"optimizer": section.optimizer.model_dump() | {"kind": "muon", "lr": LR}}
    training.params = type(section).model_validate(section.model_dump() | changes)
    return training


def new_model():
    torch.manual_seed(2)
    return GPTModel(CFG)


def draw_gradients(model, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("decay", ["all", "matrices"])
def test_updates_are_pytorchs(monkeypatch, decay):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # else PyTorch's has three digits
    ours, theirs = new_model(), new_model()
    blocks = [weight for weight in theirs.trf_blocks.parameters() if weight.ndim == 2]
    inside = {id(weight) for weight in blocks}
    rest = [weight for weight in theirs.parameters() if id(weight) not in inside]
    muon = torch.optim.Muon(blocks, lr=LR, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    groups = [
        {"params": [weight for weight in rest if weight.ndim == 2]},
        {"params": [weight for weight in rest if weight.ndim < 2], **({"weight_decay": 0} if decay != "all" else {})},
    ]
    adamw = torch.optim.AdamW(groups, lr=LR, weight_decay=DECAY)
    optimizer = build_optimizer(ours, LR, DECAY, kind="muon", decay=decay)
    assert len(blocks) == 2 * 6
    for step in range(10):
        for model in (ours, theirs):
            draw_gradients(model, step)
        for each in (optimizer, muon, adamw):
            each.step()
        for (name, weight), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(weight, other, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 48)])
def test_singular_values_come_near_one(shape):
    found = torch.linalg.svdvals(orthogonalised(torch.randn(shape, generator=torch.Generator().manual_seed(1))))
    assert 0.3 < found.min() <= found.max() < 1.3


def test_no_gradient_no_direction():
    assert torch.equal(orthogonalised(torch.zeros(4, 3)), torch.zeros(4, 3))


@pytest.mark.parametrize("step", [0, 4, 5, 6, 11])
def test_a_killed_training_is_resumed_to_the_same_bits(with_muon, step):
    whole = with_muon.run()
    with pytest.raises(Interruption):
        with_muon.run(every_seconds=0, callbacks=[After(step, "loss")])
    assert_same(with_muon.run(every_seconds=0), whole)


def test_the_schedule_is_for_both(with_muon, recorder):
    with_muon.run(callbacks=[recorder])
    rates = [record.value for record in recorder.records if record.name == "lr"]
    assert max(rates) == pytest.approx(LR)
    optimizer = build_optimizer(new_model(), LR, DECAY, kind="muon")
    assert [group["lr"] for group in optimizer.param_groups] == [LR, LR]


def test_a_rate_of_its_own_keeps_its_share(with_muon, monkeypatch):
    rates = []
    monkeypatch.setattr("gpt_from_scratch.training.muon.MuonAdamW._update", lambda *parts: rates.append(parts[-2]))
    section = with_muon.params
    optimizer = type(section.optimizer).model_validate(section.optimizer.model_dump() | {"muon_lr": LR / 4})
    with_muon.params = section.model_copy(update={"optimizer": optimizer})
    with_muon.run()
    assert max(rates) == pytest.approx(LR / 4)
    assert min(rates) < LR / 8


def test_a_rate_without_muon_is_refused(params):
    with pytest.raises(ValueError, match=r"muon_lr is for kind muon: expected 0 for adamw, found 0\.1"):
        type(params.optimizer).model_validate({"muon_lr": 0.1})


def test_without_a_block_to_train_it_is_refused():
    model = new_model()
    model.trf_blocks.requires_grad_(False)
    with pytest.raises(InputError, match=r"optimizer.kind: expected trainable matrices in the blocks for muon"):
        build_optimizer(model, LR, DECAY, kind="muon")


def test_sharded_weights_are_refused(with_muon):
    group = Group(Place(0, 2, 0, 2), "full")
    with pytest.raises(InputError, match=r"expected adamw with runtime.sharding full, since muon needs whole matrices"):
        fit(new_model(), None, (None, None), with_muon.params, group=group)
