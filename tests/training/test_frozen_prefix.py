"""The frozen blocks computed once: the losses, accuracies, weights and random numbers of the plain way."""

from __future__ import annotations

import copy
import logging
import os
import signal

import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import Subset

from gpt_from_scratch.data.messages.loaders import message_loaders
from gpt_from_scratch.data.messages.messages import Messages
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.heads import set_classification_head, train_only
from gpt_from_scratch.model.lora import replace_linear_with_lora
from gpt_from_scratch.pipeline import signals as interruption
from gpt_from_scratch.training.frozen_prefix import frozen_blocks, keep_frozen_prefix
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.tasks import Classification

CFG = {
    "vocab_size": 70,
    "context_length": 24,
    "emb_dim": 32,
    "n_heads": 4,
    "n_layers": 3,
    "drop_rate": 0.0,
    "qkv_bias": True,
    "kernels": "fused",
}
CPU = torch.device("cpu")
PLENTY = 1e12
FROZEN = {"last_layer": 3, "last_block": 2, "last_two_blocks": 1, "all": 0}


class Letters:
    """A tokenizer of small letters."""

    def encode(self, text, **options):
        return [ord(letter) - 97 for letter in text]


def classifier(trainable="last_block", **changes):
    torch.manual_seed(1)
    model = GPTModel({**CFG, **changes})
    set_classification_head(model, 2)
    train_only(model, trainable)
    return model


def messages(number, *, padded):
    generator = torch.Generator().manual_seed(number)
    lengths = torch.randint(1, 21, (number,), generator=generator).tolist()
    texts = ["".join(chr(97 + n) for n in torch.randint(26, (k,), generator=generator)) for k in lengths]
    frame = pd.DataFrame({"Label": [int("e" in text) for text in texts], "Text": texts})
    return Messages(frame, Letters(), pad_id=69, max_length=20, padded=padded)


def trained(model, sets, first_block, *, padded):
    """Train for two epochs; return all records and the next random number."""
    loaders = message_loaders(*sets, 4, padded=padded)
    torch.manual_seed(3)
    records = train(
        model,
        Classification(first_block),
        loaders,
        build_optimizer(model, 5e-3, 0.1),
        LoopSettings(epochs=2, eval_every=3, eval_batches=2),
    )
    return [(record.step, record.name, record.seen, record.value) for record in records], torch.rand(1).item()


@pytest.fixture(autouse=True)
def _threads(_two_threads: None) -> None:
    """Two, however the tests run: AdamW enlarges what another order of sums changes in gradients near zero."""
    torch.set_num_threads(2)


@pytest.fixture(params=[True, False], ids=["padded", "own lengths"])
def padded(request):
    return request.param


@pytest.mark.parametrize("trainable", ["last_layer", "last_block", "last_two_blocks"])
@pytest.mark.parametrize("kernels", ["explicit", "fused"])
def test_a_training_is_that_of_the_plain_way(trainable, kernels, padded):
    sets = [messages(number, padded=padded) for number in (22, 9)]
    model = classifier(trainable, kernels=kernels)
    plain = copy.deepcopy(model)
    told, calls = [], []
    kept, first_block = keep_frozen_prefix(model, sets, PLENTY, told.append)
    assert first_block == FROZEN[trainable]
    assert sum(told) == 31
    for block in model.trf_blocks[:first_block]:
        block.register_forward_hook(lambda *args: calls.append(args))
    found, drawn = trained(model, kept, first_block, padded=False)
    assert not calls
    expected, plainly_drawn = trained(plain, sets, 0, padded=padded)
    assert drawn == plainly_drawn
    assert [record[:3] for record in found] == [record[:3] for record in expected]
    assert [record[3] for record in found] == pytest.approx([record[3] for record in expected], rel=1e-5, abs=1e-6)
    for name, value in plain.state_dict().items():
        if name.endswith("W_key.bias"):
            continue  # adds the same to all of a query's scores: its gradient is rounding alone, which AdamW enlarges
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_without_padding_a_message_is_decided_at_its_own_last_token():
    padded, own = (messages(9, padded=side) for side in (True, False))
    model = classifier().eval()
    logits = Classification().logits(model, next(iter(message_loaders(own, own, 9, padded=False)[1]))[0])
    for ids, found in zip(own.token_ids, logits, strict=True):
        torch.testing.assert_close(found, model(ids[None])[0, -1], rtol=1e-5, atol=1e-5)
    for ids, row in zip(own.token_ids, padded.token_ids, strict=True):
        assert row.tolist() == ids.tolist() + [69] * (20 - len(ids))


@pytest.mark.parametrize("number", range(4))
def test_what_is_frozen_is_read_off_the_model(number):
    model = classifier(list(FROZEN)[number])
    assert frozen_blocks(model) == list(FROZEN.values())[number]


def test_low_rank_updates_in_every_block_leave_nothing_to_keep():
    model = classifier("last_layer")
    replace_linear_with_lora(model, rank=2, alpha=2)
    assert frozen_blocks(model) == 0
    sets = [messages(4, padded=True)]
    assert keep_frozen_prefix(model, sets, PLENTY) == (sets, 0)


def test_a_trained_embedding_leaves_nothing_to_keep():
    model = classifier()
    model.pos_emb.requires_grad_(True)
    assert frozen_blocks(model) == 0


def test_under_dropout_nothing_is_kept():
    sets = [messages(4, padded=True)]
    assert keep_frozen_prefix(classifier(drop_rate=0.1), sets, PLENTY) == (sets, 0)


def test_too_little_memory_is_said_and_nothing_is_kept(padded, caplog):
    sets = [messages(4, padded=padded)]
    needed = sum(len(ids) for ids, _ in (sets[0][n] for n in range(4))) * 32 * 4
    with caplog.at_level(logging.INFO):
        assert keep_frozen_prefix(classifier(), sets, needed - 1) == (sets, 0)
    assert "2 frozen blocks would take" in caplog.text
    assert keep_frozen_prefix(classifier(), sets, needed)[1] == 2
    assert keep_frozen_prefix(classifier("last_layer"), sets, 4 * 32 * 4)[1] == 3


def test_no_random_number_is_drawn_and_the_mode_stays():
    model = classifier()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    keep_frozen_prefix(model, [messages(9, padded=True)], PLENTY)
    assert torch.equal(torch.rand(1), expected)
    assert model.training


def test_long_sets_take_several_passes(monkeypatch):
    sets, told = [messages(9, padded=False)], []
    whole, _ = keep_frozen_prefix(classifier(), sets, PLENTY)
    monkeypatch.setattr("gpt_from_scratch.training.frozen_prefix.PASS_TOKENS", 30)
    parts, _ = keep_frozen_prefix(classifier(), sets, PLENTY, told.append)
    assert len(told) > 3
    assert sum(told) == 9
    for (one, label), (other, other_label) in zip(whole[0], parts[0], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert label == other_label


def test_an_empty_set_stays_one():
    full, empty = messages(3, padded=False), Subset(messages(3, padded=False), [])
    kept, first_block = keep_frozen_prefix(classifier(), [full, empty], PLENTY)
    assert ([len(examples) for examples in kept], first_block) == ([3, 0], 2)


def test_a_signal_ends_it_between_two_passes(monkeypatch):
    monkeypatch.setattr("gpt_from_scratch.training.frozen_prefix.PASS_TOKENS", 1)
    old = [signal.getsignal(number) for number in interruption.SIGNALS]
    interruption.listen()
    told = []

    def tell(number):
        told.append(number)
        if len(told) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with pytest.raises(SystemExit) as caught:
            keep_frozen_prefix(classifier(), [messages(9, padded=True)], PLENTY, tell)
    finally:
        for number, handler in zip(interruption.SIGNALS, old, strict=True):
            signal.signal(number, handler)
    assert caught.value.code == 143
    assert len(told) == 2


@pytest.mark.parametrize("drop_rate", [0.0, 0.1])
@pytest.mark.parametrize("kernels", ["explicit", "fused"])
def test_the_last_position_alone_where_dropout_draws_nothing(kernels, drop_rate):
    model = classifier("all", kernels=kernels, drop_rate=drop_rate)
    shapes = []
    model.out_head.register_forward_hook(lambda module, args, out: shapes.append(out.shape[1]))
    ids = torch.randint(70, (3, 20))
    torch.manual_seed(2)
    logits = Classification().logits(model, ids)
    torch.manual_seed(2)
    torch.testing.assert_close(logits, model(ids)[:, -1], rtol=1e-5, atol=1e-6)
    Classification().logits(model.eval(), ids)
    spared = kernels == "fused"
    assert shapes == [1 if spared and not drop_rate else 20, 20, 1 if spared else 20]


def test_the_labels_and_counts_of_a_batch_without_padding():
    own = messages(9, padded=False)
    inputs, labels = next(iter(message_loaders(own, own, 9, padded=False)[1]))
    batch = inputs, labels
    assert len(inputs) == 9
    assert labels.tolist() == own.labels.tolist()
    assert Classification().count(batch) == Classification().weight(batch) == 9
    assert isinstance(classifier().out_head, nn.Linear)
