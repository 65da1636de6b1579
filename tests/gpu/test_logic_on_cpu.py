"""The checks of `test_on_gpu.py` on the CPU: so that a mistake in them does not wait for a GPU."""

from __future__ import annotations

import os
from contextlib import contextmanager
from unittest import mock

import gpu_checks as checks
import gpu_decoding as decoding
import gpu_processes as processes
import gpu_recipes as recipes
import pytest
import torch

from gpt_from_scratch.model import GPTModel

CPU = torch.device("cpu")


@pytest.mark.parametrize("kernels", checks.KERNELS)
@pytest.mark.parametrize("name", checks.TRAININGS)
def test_placement(name, kernels):
    checks.check_placement(name, CPU, kernels)


@pytest.mark.parametrize("precision", checks.TOLERANCES)
@pytest.mark.parametrize("name", checks.TRAININGS)
def test_losses(name, precision):
    checks.check_losses(name, CPU, precision)


def test_other_losses_are_found():
    expected = checks.train(checks.Small.of("language", CPU)).losses()
    with pytest.raises(AssertionError, match="step and name 3 loss"):
        checks.assert_close({**expected, "3 loss": expected["3 loss"] * 1.001}, expected, 1e-4)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_recipes(name, tmp_path):
    recipes.check_recipe(name, CPU, tmp_path)


def test_the_gpus_tests_run_every_recipe(root):
    source = (root / "tests/gpu/test_on_gpu.py").read_text(encoding="utf-8")
    assert f"RECIPES = {tuple(recipes.RECIPES)!r}".replace("'", '"') in source


def test_a_training_without_deterministic_algorithms_is_found(tmp_path, monkeypatch):
    def without(*_):
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        return CPU

    monkeypatch.setattr("gpt_from_scratch.recipes.instruct.prepare", without)
    with pytest.raises(AssertionError, match="an update without deterministic algorithms"):
        recipes.check_recipe("preferences", CPU, tmp_path)


@pytest.mark.parametrize("precision", checks.TOLERANCES)
@pytest.mark.parametrize("name", ["language", "preferences"])
def test_resuming(name, precision, tmp_path):
    checks.check_resuming(name, CPU, precision, tmp_path)


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("kernels", checks.KERNELS)
def test_decoding(kernels, alike):
    decoding.check_decoding(CPU, kernels, alike)


@pytest.mark.parametrize("kernels", checks.KERNELS)
def test_logits(kernels):
    decoding.check_logits(CPU, kernels)


def test_rows_that_end_and_are_replaced():
    decoding.check_batches(CPU)


def test_bf16():
    decoding.check_bf16(CPU)


@pytest.mark.slow
def test_compiled():
    checks.check_compiled(CPU, "fp32")


def test_out_of_memory():
    @contextmanager
    def shortage():
        with mock.patch.object(GPTModel, "forward", side_effect=torch.OutOfMemoryError("CUDA out of memory.")):
            yield

    checks.check_out_of_memory(CPU, shortage)


def test_the_shortage_is_taken_back(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**33, 2**34))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2**26)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", calls.append)
    with checks.no_memory_left():
        assert calls == [2**27 / 2**34]
    assert calls[1:] == [1.0]


def test_two_processes(tmp_path):
    processes.check_processes(2, CPU, tmp_path, ["language"])
