"""Devices and threads."""

from __future__ import annotations

import logging

import pytest
import torch

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.training.environment import choose_device, prepare


def test_auto_says_loudly_when_it_falls_back(root, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    runtime = load_params(root / "profiles/quick.yaml").runtime.model_copy(update={"device": "auto"})
    try:
        with caplog.at_level(logging.WARNING):
            assert prepare(runtime) == torch.device("cpu")
        assert "NO GPU FOUND" in caplog.text
    finally:
        torch.use_deterministic_algorithms(False)


def test_auto_prefers_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


def test_a_named_device_must_be_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"runtime\.device: 'cuda' cannot be used on this machine; usable: .*cpu"):
        choose_device("cuda")


def test_threads_and_determinism(root):
    runtime = load_params(root / "profiles/quick.yaml").runtime
    try:
        assert prepare(runtime) == torch.device("cpu")
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
