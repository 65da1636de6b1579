"""The benchmark of decoding, run with a tiny model: its peers agree with us, and it sees when they would not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks import generating
from gpt_from_scratch.model import GPTConfig, GPTModel

TINY = replace(
    generating.FULL,
    cfg=GPTConfig(
        vocab_size=80,
        context_length=48,
        emb_dim=32,
        n_heads=2,
        n_layers=2,
        drop_rate=0.0,
        qkv_bias=True,
        kernels="fused",
    ),
    prompts=5,
    shortest=3,
    longest=9,
    answer_tokens=12,
    ours_at_once=3,
    theirs_at_once=2,
    prompt_tokens=4,
    new_tokens=16,
)


def test_all_rows_come_out(monkeypatch):
    pytest.importorskip("llms_from_scratch")
    pytest.importorskip("transformers")
    monkeypatch.setattr(generating, "memory_bytes_per_second", lambda: 1e9)
    monkeypatch.setattr(generating, "matrix_product_flops", lambda: 1e9)
    rows = list(generating.rows(TINY))
    assert [row.at_least for row in rows] == [1.3, 15.0, 1.3, 1.2, 6.0, 2.0]
    assert all(len(row.peers) == 1 for row in rows)
    assert "all 16 tokens are the same" in rows[2].agreement
    assert "5 of 5 answers" in rows[0].agreement


def test_other_tokens_are_an_error_and_ties_are_not():
    torch.manual_seed(1)
    model = GPTModel(TINY.cfg).eval()
    prompt = [1, 2, 3]
    best, second = model(torch.tensor([prompt]))[0, -1].topk(2).indices.tolist()
    with pytest.raises(ValueError, match="expected the same tokens"):
        generating.same_tokens(model, prompt, [best], [second])
    model.out_head.weight.data[second] = model.out_head.weight.data[best]
    assert not generating.same_tokens(model, prompt, [best], [second])
