"""The companion's variants of the classifier beside loops written by hand around the reference's model."""

from __future__ import annotations

import copy
from itertools import islice

import pytest
import torch
from llms_from_scratch.appendix_e import replace_linear_with_lora as reference_lora
from llms_from_scratch.ch04 import GPTModel as ReferenceModel
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.data.messages.loaders import message_loaders
from gpt_from_scratch.generation.classifying import probabilities
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.fast_path import FastPath
from gpt_from_scratch.model.heads import set_causal, set_classification_head, train_only
from gpt_from_scratch.model.lora import merge_lora, train_lora
from gpt_from_scratch.model.sequences import Sequences
from gpt_from_scratch.training.frozen_prefix import keep_frozen_prefix
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.tasks import Classification
from gpt_from_scratch.weights.classifier import ClassifierInfo

CPU = torch.device("cpu")
CFG = {
    "vocab_size": 60,
    "context_length": 16,
    "emb_dim": 24,
    "n_heads": 3,
    "n_layers": 2,
    "drop_rate": 0.0,
    "qkv_bias": False,  # a bias of the keys has no gradient but rounding, which AdamW makes large
}
PAD = 59
WIDTH = 11
LR = 5e-3


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # two would wait for each other longer than these models compute


def models(trainable, kernels="fused", causal=True):
    """Return the reference's model and ours: same weights, same frozen parts, a head of two classes."""
    torch.manual_seed(1)
    theirs = ReferenceModel(CFG)
    ours = GPTModel({**CFG, "kernels": kernels})
    ours.load_state_dict(theirs.state_dict())
    set_classification_head(ours, 2)
    set_causal(ours, causal)
    theirs.out_head = copy.deepcopy(ours.out_head)
    if not causal:
        for block in theirs.trf_blocks:
            block.att.mask.zero_()
    if trainable != "lora":
        train_only(ours, trainable)
        for name, parameter in theirs.named_parameters():
            parameter.requires_grad = ours.get_parameter(name).requires_grad
    return theirs, ours


def messages(number, seed):
    """Return padded ids `[number, WIDTH]`, the lengths without padding, and labels."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, WIDTH + 1, (number,), generator=generator)
    ids = torch.randint(PAD, (number, WIDTH), generator=generator)
    ids[torch.arange(WIDTH) >= lengths[:, None]] = PAD
    return ids, lengths, torch.randint(2, (number,), generator=generator)


class OwnLengths(TensorDataset):
    """The messages without their padding."""

    def __getitem__(self, index):
        ids, length, label = super().__getitem__(index)
        return ids[:length], label


def decided(model, ids, lengths, deciding):
    """Return logits `[batch, classes]` as the companion takes them from its model's outputs."""
    if deciding == "last_real":  # each alone, so that nothing sees padding
        return torch.stack([model(row[None, :length])[0, -1] for row, length in zip(ids, lengths, strict=True)])
    logits = model(ids)
    return {"last": logits[:, -1], "first": logits[:, 0], "mean": sum(logits.unbind(1)) / ids.shape[1]}[deciding]


def by_hand(theirs, loader, deciding, *, accumulation_steps=1, ignore_index=-100):
    """Return the loss of every update; what is accumulated is computed as one batch."""
    torch.manual_seed(5)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=LR, weight_decay=0.1)
    losses = []
    batches = iter(loader)
    while len(group := list(islice(batches, accumulation_steps))) == accumulation_steps:
        ids, lengths, labels = (torch.cat(parts) for parts in zip(*group, strict=True))
        loss = F.cross_entropy(decided(theirs, ids, lengths, deciding), labels, ignore_index=ignore_index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def ours_losses(model, task, loaders, *, accumulation_steps=1):
    torch.manual_seed(5)
    records = train(
        model,
        task,
        loaders,
        build_optimizer(model, LR, 0.1),
        LoopSettings(1, 10**9, 1, accumulation_steps=accumulation_steps),
    )
    return [record.value for record in records if record.name == "loss"]


def assert_same(ours, theirs):
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=0, atol=2e-5)
    assert len(set(theirs)) == len(theirs) > 5


@pytest.mark.parametrize("deciding", ["last", "last_real", "first", "mean"])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "all tokens"])
@pytest.mark.parametrize(
    ("trainable", "kernels", "kept"),
    [
        ("last_layer", "fused", True),
        ("last_block", "fused", True),
        ("last_block", "explicit", True),
        ("last_block", "explicit", False),
        ("all", "fused", False),
    ],
)
def test_losses_are_those_of_a_loop_by_hand(deciding, causal, trainable, kernels, kept):
    theirs, ours = models(trainable, kernels, causal)
    data = messages(34, 2)
    expected = by_hand(theirs, DataLoader(TensorDataset(*data), 4, shuffle=True, drop_last=True), deciding)
    padded = deciding != "last_real"
    own = TensorDataset(data[0], data[2]) if padded else OwnLengths(*data)
    sets, first_block = [own, own], 0
    if kept:
        sets, first_block = keep_frozen_prefix(ours, sets, 1e9, deciding_token=deciding)
        assert first_block == {"last_layer": 2, "last_block": 1}[trainable]
        states = [len(sets[0][number][0]) for number in range(34)]
        alone = (deciding == "first" and causal) or (trainable == "last_layer" and deciding != "mean")
        assert states == ([1] * 34 if alone else [WIDTH] * 34 if padded else data[1].tolist())
    task = Classification(first_block, deciding)
    loaders = message_loaders(*sets, 4, padded=padded and not first_block)
    assert_same(ours_losses(ours, task, loaders), expected)
    with torch.no_grad():
        inputs = data[0] if padded else [row[:length] for row, length in zip(*data[:2], strict=True)]
        info = ClassifierInfo(("ham", "spam"), WIDTH, 0, deciding)
        found = torch.from_numpy(probabilities(ours.eval(), info, [row.tolist() for row in inputs])).float()
        logits = decided(theirs, *data[:2], deciding)
    torch.testing.assert_close(found, torch.softmax(logits, -1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("accumulation_steps", [1, 8])
def test_without_padding_and_one_message_a_batch(accumulation_steps):
    """Rows 14 and 15: the last token of the message alone is the last position."""
    theirs, ours = models("last_block")
    data = messages(8 * accumulation_steps, 4)
    options = {"accumulation_steps": accumulation_steps}
    expected = by_hand(theirs, DataLoader(TensorDataset(*data), 1, shuffle=True), "last_real", **options)
    sets, first_block = keep_frozen_prefix(ours, [OwnLengths(*data)] * 2, 1e9, deciding_token="last_real")
    loaders = message_loaders(*sets, 1, padded=False)
    assert_same(ours_losses(ours, Classification(first_block, "last_real"), loaders, **options), expected)


@pytest.mark.parametrize("accumulation_steps", [1, 3])
def test_row_18_of_the_companions_table_is_row_1(accumulation_steps):
    """No label is 50256: the option that it sets in PyTorch's cross-entropy changes nothing, and is none of ours."""
    theirs, ours = models("last_block")
    ids, lengths, labels = messages(72, 6)
    options = {"accumulation_steps": accumulation_steps}
    loader = DataLoader(TensorDataset(ids, lengths, labels), 4, sampler=range(72))
    expected = by_hand(theirs, loader, "last", ignore_index=50256, **options)
    loader = DataLoader(TensorDataset(ids, labels), 4, sampler=range(72))
    assert_same(ours_losses(ours, Classification(), (loader, loader), **options), expected)


@pytest.mark.parametrize("kernels", ["explicit", "fused"])
def test_low_rank_updates_learn_as_appendix_e_does(kernels):
    """The reference does not divide by the rank, so its alpha is ours over the rank."""
    theirs, ours = models("lora", kernels)
    theirs.requires_grad_(False)
    torch.manual_seed(7)
    reference_lora(theirs, rank=4, alpha=8 / 4)
    torch.manual_seed(7)
    train_lora(ours, rank=4, alpha=8)
    trained = {name for name, parameter in ours.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in theirs.named_parameters() if parameter.requires_grad}
    data = messages(34, 2)
    loader = DataLoader(TensorDataset(*data), 4, shuffle=True, drop_last=True)
    expected = by_hand(theirs, loader, "last")
    own = TensorDataset(data[0], data[2])
    assert_same(ours_losses(ours, Classification(), message_loaders(own, own, 4)), expected)
    with torch.no_grad():
        assert ours.trf_blocks[0].att.W_query.lora(torch.ones(24)).abs().max() > 1e-3
    merge_lora(ours)
    assert not any("lora" in name for name, _ in ours.named_modules())
    assert isinstance(ours.out_head, nn.Linear)
    with torch.no_grad():
        torch.testing.assert_close(ours(data[0]), theirs(data[0]), rtol=0, atol=1e-4)


def test_every_token_of_each_packed_sequence_is_seen():
    """Messages one behind the other: all of the own, none of the others."""
    theirs, ours = models("all", "explicit", causal=False)
    ids, lengths, _ = messages(5, 3)
    rows = [row[:length] for row, length in zip(ids, lengths, strict=True)]
    packed = Sequences.of(rows)
    for kernels in ("explicit", "fused"):
        model = GPTModel({**CFG, "kernels": kernels, "causal": False})
        model.out_head = copy.deepcopy(ours.out_head)
        model.load_state_dict(ours.state_dict())
        with torch.no_grad():
            found = model(packed.values, fast=FastPath(packed.lengths))[0].split(packed.lengths)
            for row, logits in zip(rows, found, strict=True):
                torch.testing.assert_close(logits, theirs(row[None])[0], rtol=1e-4, atol=1e-5)
