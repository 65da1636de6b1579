"""On a GPU: where tensors are, losses, bits, decoding, memory and several GPUs. `make test-gpu` runs it."""

from __future__ import annotations

import importlib.util

import pytest
import torch

checks = pytest.importorskip("gpu_checks")
decoding = pytest.importorskip("gpu_decoding")
processes = pytest.importorskip("gpu_processes")

pytestmark = pytest.mark.gpu

# Not asked of `gpu_recipes`, which needs more packages: without them the tests below are skipped, and name the package.
RECIPES = ("pretrain", "classify", "the last block", "instruct", "preferences")


@pytest.mark.parametrize("kernels", checks.KERNELS)
@pytest.mark.parametrize("name", checks.TRAININGS)
def test_placement(device, name, kernels):
    checks.check_placement(name, device, kernels)


@pytest.mark.parametrize("precision", checks.TOLERANCES)
@pytest.mark.parametrize("name", checks.TRAININGS)
def test_losses_are_the_cpus(device, name, precision):
    checks.check_losses(name, device, precision)


@pytest.mark.parametrize("name", RECIPES)
def test_every_training_is_deterministic(device, name, tmp_path):
    import gpu_recipes

    gpu_recipes.check_recipe(name, device, tmp_path)


@pytest.mark.parametrize("precision", checks.TOLERANCES)
@pytest.mark.parametrize("name", ["language", "preferences"])
def test_a_resumed_training_gives_the_same_bits(device, name, precision, tmp_path):
    torch.use_deterministic_algorithms(True)
    checks.check_resuming(name, device, precision, tmp_path)


@pytest.mark.parametrize("alike", [False, True], ids=["any", "deterministic"])
@pytest.mark.parametrize("kernels", checks.KERNELS)
def test_decoding_with_cuda_graphs(device, kernels, alike):
    decoding.check_decoding(device, kernels, alike)


@pytest.mark.parametrize("kernels", checks.KERNELS)
def test_logits_of_cuda_graphs(device, kernels):
    decoding.check_logits(device, kernels)


def test_rows_that_end_and_are_replaced(device):
    decoding.check_batches(device)


def test_decoding_in_bf16(device):
    decoding.check_bf16(device)


@pytest.mark.parametrize("precision", checks.TOLERANCES)
def test_compiled_losses(device, precision):
    if importlib.util.find_spec("triton") is None:
        pytest.skip("the package triton is not installed")
    try:
        checks.check_compiled(device, precision)
    except checks.InputError as error:
        pytest.skip(str(error))


def test_out_of_memory(device):
    checks.check_out_of_memory(device, checks.no_memory_left)


def test_two_processes_with_nccl(device, tmp_path):
    if (found := torch.cuda.device_count()) < 2:
        pytest.skip(f"two GPUs are needed, found {found}")
    processes.check_processes(2, device, tmp_path)
