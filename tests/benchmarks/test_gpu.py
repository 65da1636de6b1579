"""The GPU's benchmarks at a tiny size on the CPU: their logic, since no GPU is asked for here."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import gpu
from benchmarks.book_run import BOOK, TEMPLATE, BookSizes, made_up_bpe
from benchmarks.row import LeftOut
from benchmarks.updates import training_flops
from gpt_from_scratch.model import GPTConfig
from gpt_from_scratch.model.config import GPT2_SIZES
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tokenizer.train import save_bpe

CFG = GPTConfig(vocab_size=64, context_length=32, emb_dim=16, n_heads=2, n_layers=2, drop_rate=0.0, qkv_bias=True)
CFG = replace(CFG, tie_weights=True, kernels="fused")
TINY = gpu.Scale(
    sizes={"tiny": (CFG, 2, 1e3), "tiny too": (replace(CFG, n_layers=1), 2, 1e3)},
    product=64,
    compiled=False,
    updates=2,
    prompt=4,
    new_tokens=8,
    tokens_per_second=1e3,
    book=BookSizes(
        merges=400,
        base=replace(CFG, context_length=128),
        text=400,
        messages=(24, 8, 8),
        message_tokens=10,
        entries=40,
        changes={
            **BOOK.changes,
            **{"pretrain.model.context_length": 32, "pretrain.stride": 32, "pretrain.model.emb_dim": 12},
            **{"pretrain.model.n_layers": 1, "pretrain.epochs": 1, "classify.epochs": 1, "instruct.epochs": 1},
            **{"pretrain.sample.tokens": 4, "evaluate.sample_tokens": 4},
            **{"instruct.max_length": 128, "instruct.sample_tokens": 4, "evaluate.response_tokens": 6},
        },
    ),
)


def test_every_row_at_a_tiny_size():
    rows = list(gpu.rows_at(TINY, torch.device("cpu"), aims=True))
    first, second, decoding, book = rows
    assert first.work == "training tiny in bf16, an update of 2 x 32 tokens"
    assert list(first.peers) == ["transformers", "llms-from-scratch (fast, untied)"]
    assert first.figures["tokens per second"] == pytest.approx(64 / first.ours)
    assert "from that of transformers on the same weights" in first.agreement
    assert first.at_most == pytest.approx(0.064)
    assert second.peers == {}
    assert decoding.at_most == pytest.approx(0.008)
    assert book.ours == pytest.approx(sum(time for name, time in book.figures.items() if "seconds" in name))
    assert 0.1 < book.figures["last training loss of classification"] < 5
    assert all(row.ours > 0 and row.reached is not None for row in rows)


def test_parts_alone():
    def works(*parts):
        return [row.work.split(" in ")[0] for row in gpu.rows_at(TINY, torch.device("cpu"), aims=False, parts=parts)]

    assert works("tiny too") == ["training tiny too"]
    assert works("decoding") == ["decoding tiny"]


def test_without_a_compiler_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    assert gpu.why_not_compiled() == "no C++ compiler (g++ or clang++)"
    monkeypatch.setattr(gpu.shutil, "which", lambda name: name)
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    assert gpu.why_not_compiled() == "no package triton"


def test_other_losses_are_an_error(monkeypatch):
    honest = gpu.OurUpdates.__call__
    seen = []

    def wrong(self):
        seen.append(honest(self))
        return seen[-1] * (1.02 if len(seen) > 5 else 1)

    monkeypatch.setattr(gpu.OurUpdates, "__call__", wrong)
    with pytest.raises(AssertionError, match="losses: expected"):
        next(gpu.rows_at(TINY, torch.device("cpu"), aims=False))


def test_without_a_gpu_it_is_left_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LeftOut, match="no CUDA device"):
        next(gpu.rows())


def test_the_count_of_operations():
    # 6 x 123.7 million weights, and attention: 12 x 12 x 768 x 1024.
    assert training_flops(GPT2_SIZES["124M"]) == pytest.approx(0.855e9, rel=1e-3)


def test_the_numbers_are_those_of_the_profile():
    precision = {f"{name}.precision": "bf16" for name in ("pretrain", "classify", "instruct")}
    assert BOOK.changes == {**precision, "pretrain.model.kernels": "fused"}
    assert BOOK.base == GPT2_SIZES["124M"]


def test_the_made_up_tokenizer_has_gpt2s_size(tmp_path):
    save_bpe(*made_up_bpe(BOOK.merges), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.n_vocab == 50257
    assert len(tokenizer.encode("a b c D e")) == 5
    assert len(tokenizer.encode(TEMPLATE)) < BOOK.shortest


def test_it_needs_no_more_than_the_base_install(root):
    path = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}
    command = [sys.executable, "tests/base_install.py", "benchmarks.__main__", "benchmarks.gpu", "benchmarks.gpu_check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=path)
    assert done.returncode == 0, done.stderr
