"""Whole chapters on the real files: the figures that the book's own tests expect of its package."""

from __future__ import annotations

import zipfile
from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from gpt_from_scratch.book.appendix_d import train_model
from gpt_from_scratch.book.appendix_e import replace_linear_with_lora
from gpt_from_scratch.book.ch02 import create_dataloader_v1
from gpt_from_scratch.book.ch04 import GPTModel, GPTModelFast, generate_text_simple
from gpt_from_scratch.book.ch05 import train_model_simple
from gpt_from_scratch.book.ch06 import (
    SpamDataset,
    create_balanced_dataset,
    download_and_unzip_spam_data,
    random_split,
    train_classifier_simple,
)
from gpt_from_scratch.book.ch07 import InstructionDataset, custom_collate_fn, download_and_load_file, format_input
from gpt_from_scratch.book.kv_cache.generate import generate_text_simple as generate_text_simple_cached
from gpt_from_scratch.book.kv_cache.gpt2 import GPTModel as GPTModelKV

GPT_124M = {
    "vocab_size": 50257,
    "context_length": 1024,
    "emb_dim": 768,
    "n_heads": 12,
    "n_layers": 12,
    "drop_rate": 0.1,
    "qkv_bias": False,
}
TINY = {**GPT_124M, "context_length": 120, "drop_rate": 0.0, "emb_dim": 12, "n_layers": 1, "n_heads": 2}


def first_items(dataset, count):
    return DataLoader(Subset(dataset, range(count)), batch_size=count)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "generate"),
    [
        (GPTModel, generate_text_simple),
        (GPTModelFast, generate_text_simple),
        (GPTModelKV, generate_text_simple_cached),
        (GPTModelKV, partial(generate_text_simple_cached, use_cache=False)),
    ],
)
def test_the_untrained_124m_speaks_as_in_chapter_4(tokenizer, make, generate):
    torch.manual_seed(123)
    model = make(GPT_124M).eval()
    prompt = torch.tensor([tokenizer.encode("Hello, I am")])
    found = generate(model=model, idx=prompt, max_new_tokens=10, context_size=1024)
    new = [27018, 24086, 47843, 30961, 42348, 7267, 49706, 43231, 47062, 34657]
    assert found.tolist() == [[15496, 11, 314, 716, *new]]


def verdict_loaders(text, context_length):
    """One sequence for training and one for validation; the loaders before them draw as in the chapter."""
    cut = int(0.9 * len(text))
    options = {"batch_size": 1, "max_length": context_length, "stride": context_length, "num_workers": 0}
    train = create_dataloader_v1(text[:cut], **options, drop_last=True, shuffle=True)
    validation = create_dataloader_v1(text[cut:], **options, drop_last=False, shuffle=False)
    return first_items(train.dataset, 1), first_items(validation.dataset, 1)


@pytest.mark.slow
@pytest.mark.parametrize("make", [GPTModel, GPTModelFast])
def test_pretraining_the_124m(verdict, tokenizer, make):
    torch.manual_seed(123)
    loaders = verdict_loaders(verdict, 256)
    model = make({**GPT_124M, "context_length": 256})
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.1)
    train_losses, val_losses, _ = train_model_simple(
        model,
        *loaders,
        optimizer,
        torch.device("cpu"),
        num_epochs=2,
        eval_freq=1,
        eval_iter=1,
        start_context="Every effort moves you",
        tokenizer=tokenizer,
    )
    assert round(train_losses[0], 1) == 7.6
    assert round(val_losses[0], 1) == 10.1
    assert train_losses[-1] < train_losses[0]


@pytest.mark.slow
def test_pretraining_the_124m_as_in_appendix_d(verdict, tokenizer):
    torch.manual_seed(123)
    model = GPTModel({**GPT_124M, "context_length": 256})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    train_losses, val_losses, tokens, rates = train_model(
        model,
        *verdict_loaders(verdict, 256),
        optimizer,
        torch.device("cpu"),
        n_epochs=6,
        eval_freq=5,
        eval_iter=1,
        start_context="Every effort moves you",
        tokenizer=tokenizer,
        warmup_steps=1,
        initial_lr=1e-5,
        min_lr=1e-5,
    )
    assert round(train_losses[0], 1) == 10.9
    assert round(val_losses[0], 1) == 11.0
    assert train_losses[-1] < train_losses[0]
    assert tokens == [256, 6 * 256]
    assert rates[:2] == [1e-5, 1e-3]


@pytest.mark.parametrize("lora", [False, True])
def test_classifying_as_in_chapter_6_and_appendix_e(mirror, tokenizer, tmp_path, lora):
    extracted = tmp_path / "sms_spam_collection"
    table = extracted / "SMSSpamCollection.tsv"
    with zipfile.ZipFile(mirror / "sms+spam+collection.zip") as archive:
        archive.extract("SMSSpamCollection", extracted)
    (extracted / "SMSSpamCollection").rename(table)
    download_and_unzip_spam_data("http://unused.invalid", tmp_path / "spam.zip", extracted, table)
    messages = create_balanced_dataset(pd.read_csv(table, sep="\t", header=None, names=["Label", "Text"]))
    messages["Label"] = messages["Label"].map({"ham": 0, "spam": 1})
    for name, part in zip(("train", "validation"), random_split(messages, 0.7, 0.1)[:2], strict=True):
        part.to_csv(tmp_path / f"{name}.csv", index=None)
    train = SpamDataset(csv_file=tmp_path / "train.csv", max_length=None, tokenizer=tokenizer)
    validation = SpamDataset(tmp_path / "validation.csv", max_length=train.max_length, tokenizer=tokenizer)
    assert train.max_length == 120

    torch.manual_seed(123)
    model = GPTModel(TINY).eval()
    model.requires_grad_(False)
    torch.manual_seed(123)
    model.out_head = nn.Linear(12, 2)
    if lora:
        replace_linear_with_lora(model, rank=16, alpha=16)
    for part in (model.trf_blocks[-1], model.final_norm):
        part.requires_grad_(True)
    torch.manual_seed(123)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.1 if lora else 0.0)
    train_losses, val_losses, *_, seen = train_classifier_simple(
        model,
        first_items(train, 5),
        first_items(validation, 5),
        optimizer,
        "cpu",
        num_epochs=6 if lora else 5,
        eval_freq=1,
        eval_iter=1,
    )
    assert round(train_losses[0], 1) == 0.8
    assert round(val_losses[0], 1) == 0.8
    assert train_losses[-1] < train_losses[0]
    assert seen == (6 if lora else 5) * 5


def test_instruction_tuning_as_in_chapter_7(mirror, tokenizer):
    entries = download_and_load_file(mirror / "instruction-data.json", "http://unused.invalid")
    assert len(entries) == 1100
    collate = partial(custom_collate_fn, device=torch.device("cpu"), allowed_max_length=100)
    torch.manual_seed(123)
    loaders = [
        DataLoader(
            InstructionDataset(part, tokenizer), batch_size=8, collate_fn=collate, shuffle=shuffled, drop_last=shuffled
        )
        for part, shuffled in ((entries[:15], True), (entries[1045:1060], False))
    ]
    model = GPTModel(TINY).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.1)
    torch.manual_seed(123)
    train_losses, val_losses, _ = train_model_simple(
        model,
        *loaders,
        optimizer,
        "cpu",
        num_epochs=10,
        eval_freq=5,
        eval_iter=5,
        start_context=format_input(entries[1045]),
        tokenizer=tokenizer,
    )
    assert round(train_losses[0], 1) == 10.9
    assert round(val_losses[0], 1) == 10.9
    assert train_losses[-1] < train_losses[0]
