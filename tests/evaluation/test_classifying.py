"""Texts are classified as in the classifier's training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gpt_from_scratch.evaluation.classifying import classify, text_ids
from gpt_from_scratch.weights.classifier import ClassifierInfo

TEXTS = ["You are winning", "x", "a longer message than the classifier takes"]


@pytest.mark.parametrize("deciding", ["last", "last_real"])
@torch.no_grad()
def test_each_text_alone_gives_the_same(random_model, tokenizer, deciding: str) -> None:
    torch.manual_seed(1)
    model = random_model()
    model.out_head = nn.Linear(16, 2)
    info = ClassifierInfo(("ham", "spam"), 20, 257, deciding)
    found = classify(model, tokenizer, info, TEXTS, batch_size=2)
    for text, row in zip(TEXTS, found, strict=True):
        ids = tokenizer.encode(text)[:20]
        ids += [257] * (20 - len(ids)) if deciding == "last" else []
        expected = torch.softmax(model(torch.tensor([ids]))[0, -1], dim=-1)
        assert np.allclose(row, expected.numpy(), rtol=0.0, atol=1e-6)
    assert len(np.unique(found[:, 0])) == 3


def test_special_tokens_in_a_text_are_plain_text(tokenizer) -> None:
    info = ClassifierInfo(("ham", "spam"), 20, 257, "last_real")
    (ids,) = text_ids(tokenizer, info, ["<|endoftext|>"])
    assert ids.tolist() == list(b"<|endoftext|>")
