"""The first updates of the profile quick's three trainings, as the stages make them, without the pipeline around them.

`PYTHONPATH=src:tests/pipeline python tests/pipeline/golden.py` prints the losses that `test_golden_losses.py` holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch

from gpt_from_scratch.data.instructions.entries import Instructions, read_entries, split_entries
from gpt_from_scratch.data.instructions.loaders import instruction_loaders
from gpt_from_scratch.data.messages.loaders import message_loaders
from gpt_from_scratch.data.messages.messages import Messages
from gpt_from_scratch.data.messages.spam import LABELS, read_messages, split_messages
from gpt_from_scratch.data.text.corpus import read_text, split_text
from gpt_from_scratch.data.text.loaders import text_loaders
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.heads import set_classification_head, train_only
from gpt_from_scratch.params.sections import Params, Training, load_params
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training import Classification, LanguageModelling, Schedule, build_optimizer, train
from gpt_from_scratch.training.tasks import Task
from gpt_from_scratch.weights.layout import empty_model, fill_model
from gpt_from_scratch.weights.synthetic import synthetic_tensors

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data/sample"
STEPS = 20
SHOWN = (0, 1, 4, 9, 14, 19)


def losses() -> dict[str, list[float]]:
    """Return the training losses of the updates `SHOWN` of each training, on one thread."""
    params = load_params(ROOT / "profiles/quick.yaml")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "pretrain": list(_pretrain(params)),
            "classify": list(_classify(params)),
            "instruct": list(_instruct(params)),
        }
    finally:
        torch.set_num_threads(threads)


def _pretrain(params: Params) -> Iterator[float]:
    section, tokenizer = params.pretrain, load_tokenizer(SAMPLE / "bpe")
    texts = split_text(read_text(SAMPLE / "the-lighthouse.txt"), section.train_fraction)
    ids = [tokenizer.encode(text, allowed_special={"<|endoftext|>"}) for text in texts]
    loaders = text_loaders(*ids, section.model.context_length, section.stride, section.batch_size)
    torch.manual_seed(section.seed)
    model = GPTModel(GPTConfig(vocab_size=tokenizer.n_vocab, **section.model.model_dump()))
    return _first_losses(model, LanguageModelling(), loaders, section)


def _classify(params: Params) -> Iterator[float]:
    section, tokenizer = params.classify, load_tokenizer(SAMPLE / "bpe")
    messages = read_messages(SAMPLE / "SMSSpamCollection", params.split_spam.recipe)
    parts = split_messages(messages, **params.split_spam.model_dump()).parts()
    for part in parts.values():  # as in the CSV files
        part["Label"] = part["Label"].astype(int)
    model = _base(params, section.drop_rate)
    pad_id = tokenizer.eot_token
    train_set = Messages(parts["train"], tokenizer, pad_id=pad_id, limit=model.config.context_length)
    val_set = Messages(parts["validation"], tokenizer, pad_id=pad_id, max_length=train_set.max_length)
    torch.manual_seed(section.seed)
    set_classification_head(model, len(LABELS))
    train_only(model, section.trainable)
    torch.manual_seed(section.seed)
    return _first_losses(model, Classification(), message_loaders(train_set, val_set, section.batch_size), section)


def _instruct(params: Params) -> Iterator[float]:
    section, tokenizer = params.instruct, load_tokenizer(SAMPLE / "bpe")
    entries = read_entries(SAMPLE / "instruction-data.json")
    train_part, _, val_part = split_entries(entries, section.train_fraction, section.test_fraction)
    sets = [Instructions(part, tokenizer, section.max_length) for part in (train_part, val_part)]
    loaders = instruction_loaders(*sets, section.batch_size, tokenizer.eot_token)
    model = _base(params, section.drop_rate)
    torch.manual_seed(section.seed)
    return _first_losses(model, LanguageModelling(), loaders, section)


def _base(params: Params, drop_rate: float) -> GPTModel:
    shape, vocab_size = params.download_gpt2.tiny.model_dump(), load_tokenizer(SAMPLE / "bpe").n_vocab
    cfg = GPTConfig(
        vocab_size=vocab_size, drop_rate=drop_rate, qkv_bias=True, tie_weights=True, kernels="fused", **shape
    )
    model = empty_model(cfg, "cpu")
    tensors = synthetic_tensors(cfg, params.download_gpt2.seed)
    fill_model(model, ((tensor, torch.from_numpy(values).view(tensor.shape)) for tensor, values in tensors))
    return model


def _first_losses(model: GPTModel, task: Task, loaders: tuple, section: Training) -> Iterator[float]:
    steps = len(loaders[0]) * section.epochs
    warmup = int(section.schedule.warmup_fraction * steps)
    schedule = Schedule(section.optimizer.lr, section.schedule.initial_lr, section.schedule.min_lr, warmup, steps)
    records = train(
        model,
        task,
        *loaders,
        build_optimizer(model, section.optimizer.lr, section.optimizer.weight_decay),
        torch.device("cpu"),
        epochs=section.epochs,
        eval_every=10**9,
        eval_batches=1,
        schedule=schedule,
        max_grad_norm=section.schedule.max_grad_norm,
        clip_from_step=warmup,
    )
    found = islice((record for record in records if record.name == "loss"), STEPS)
    return (record.value for record in found if record.step in SHOWN)


if __name__ == "__main__":
    print(torch.backends.cpu.get_cpu_capability(), json.dumps(losses()))
