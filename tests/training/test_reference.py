"""Our loop beside the functions of the reference: the same weights and batches give the same losses for 20 steps."""

from __future__ import annotations

import contextlib
import copy
import io

import pytest
import torch
from llms_from_scratch import appendix_d as reference_d
from llms_from_scratch import ch05 as reference_5
from llms_from_scratch import ch06 as reference_6
from llms_from_scratch.ch04 import GPTModel as ReferenceModel

from gpt_from_scratch.data.instructions.entries import Instructions, read_entries
from gpt_from_scratch.data.instructions.loaders import instruction_loaders
from gpt_from_scratch.data.messages.loaders import message_loaders
from gpt_from_scratch.data.messages.messages import Messages
from gpt_from_scratch.data.messages.spam import read_messages, split_messages
from gpt_from_scratch.data.text.loaders import text_loaders
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.heads import set_classification_head, train_only
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.optimizer import Schedule, build_optimizer
from gpt_from_scratch.training.tasks import Classification, LanguageModelling

CPU = torch.device("cpu")
STEPS = 20


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@pytest.fixture(params=["explicit", "fused"])
def kernels(request):
    return request.param


def models(tokenizer, kernels, drop_rate=0.0):
    """Return the reference's model and ours with the same weights."""
    cfg = {
        "vocab_size": tokenizer.n_vocab,
        "context_length": 256,
        "emb_dim": 32,
        "n_heads": 4,
        "n_layers": 2,
        "drop_rate": drop_rate,
        "qkv_bias": True,
    }
    torch.manual_seed(1)
    theirs = ReferenceModel(cfg)
    ours = GPTModel({**cfg, "kernels": kernels})
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def reference_optimizer(model, lr=1e-3):
    return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)


def our_losses(model, task, loaders, lr=1e-3, **options):
    """Return training and validation losses after every step."""
    torch.manual_seed(5)
    optimizer = build_optimizer(model, lr, 0.1)
    options = {"epochs": 3, "eval_every": 1, "eval_batches": 2, **options}
    records = list(train(model, task, loaders, optimizer, LoopSettings(**options)))
    return [[r.value for r in records if r.name == name] for name in ("train_loss", "validation_loss")]


def assert_same(ours, theirs):
    assert len(ours[0]) >= STEPS
    for our_part, their_part in zip(ours, theirs, strict=True):
        torch.testing.assert_close(torch.tensor(our_part), torch.tensor(their_part), rtol=0, atol=1e-4)
    assert ours[0][-1] < ours[0][0] - 0.01


@pytest.fixture(scope="module")
def texts(root, tokenizer):
    ids = tokenizer.encode((root / "data/sample/the-lighthouse.txt").read_text()[:9000])
    return text_loaders(ids[:2000], ids[2000:], 64, 64, 4)


@pytest.mark.parametrize("drop_rate", [0.0, 0.1])
def test_pretraining(texts, tokenizer, kernels, drop_rate):
    if drop_rate and kernels == "fused":
        pytest.skip("fused attention draws other random numbers for its dropout")
    theirs, ours = models(tokenizer, kernels, drop_rate)
    torch.manual_seed(5)
    with contextlib.redirect_stdout(io.StringIO()):
        expected = reference_5.train_model_simple(
            theirs, *texts, reference_optimizer(theirs), CPU, 3, 1, 2, "Every effort", tokenizer
        )
    assert_same(our_losses(ours, LanguageModelling(), texts), expected[:2])


def test_pretraining_with_warm_up_decay_and_clipping(texts, tokenizer, kernels):
    theirs, ours = models(tokenizer, kernels)
    total = 3 * len(texts[0])
    torch.manual_seed(5)
    with contextlib.redirect_stdout(io.StringIO()):
        *expected, _, rates = reference_d.train_model(
            theirs,
            *texts,
            reference_optimizer(theirs, 3e-3),
            CPU,
            3,
            1,
            2,
            "Every effort",
            tokenizer,
            warmup_steps=4,
            initial_lr=1e-5,
            min_lr=1e-5,
        )
    schedule = Schedule(3e-3, 1e-5, 1e-5, warmup_steps=4, total_steps=total)
    found = our_losses(ours, LanguageModelling(), texts, 3e-3, schedule=schedule, max_grad_norm=1.0, clip_from_step=4)
    assert_same(found, expected)
    assert [schedule(step) for step in range(total)] == pytest.approx(rates)


@pytest.mark.parametrize("trainable", ["last_block", "all"])
def test_classification(root, tokenizer, kernels, trainable):
    frames = split_messages(
        read_messages(root / "data/sample/SMSSpamCollection", "clean")[:200], "clean", 0.7, 0.1, True, 123
    )
    train_set = Messages(frames.train, tokenizer, pad_id=tokenizer.eot_token, limit=100)
    val_set = Messages(frames.validation, tokenizer, pad_id=tokenizer.eot_token, max_length=train_set.max_length)
    loaders = message_loaders(train_set, val_set, 8)
    theirs, ours = models(tokenizer, kernels)
    set_classification_head(ours, 2)
    train_only(ours, trainable)
    theirs.out_head = copy.deepcopy(ours.out_head)
    frozen = {name for name, parameter in ours.named_parameters() if not parameter.requires_grad}
    for name, parameter in theirs.named_parameters():
        parameter.requires_grad = name not in frozen
    torch.manual_seed(5)
    with contextlib.redirect_stdout(io.StringIO()):
        expected = reference_6.train_classifier_simple(theirs, *loaders, reference_optimizer(theirs), CPU, 3, 1, 1)
    assert_same(our_losses(ours, Classification(), loaders, eval_batches=1), expected[:2])


def test_instruction_tuning(root, tokenizer, kernels):
    entries = read_entries(root / "data/sample/instruction-data.json")[:80]
    parts = (Instructions(part, tokenizer, 200) for part in (entries[:60], entries[60:]))
    loaders = instruction_loaders(*parts, 8, tokenizer.eot_token)
    theirs, ours = models(tokenizer, kernels)
    torch.manual_seed(5)
    with contextlib.redirect_stdout(io.StringIO()):
        expected = reference_5.train_model_simple(
            theirs, *loaders, reference_optimizer(theirs), CPU, 3, 1, 1, "Below is", tokenizer
        )
    assert_same(our_losses(ours, LanguageModelling(), loaders, eval_batches=1), expected[:2])
