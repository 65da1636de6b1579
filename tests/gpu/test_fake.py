"""Misplaced tensors are found without a GPU, and the operations that a GPU has no deterministic form of."""

from __future__ import annotations

import pytest
import torch

checks = pytest.importorskip("gpu_checks")
fake = pytest.importorskip("gpu_fake")

META = torch.device("meta")


@pytest.mark.parametrize("kernels", checks.KERNELS)
@pytest.mark.parametrize("name", checks.TRAININGS)
def test_trainings(name, kernels):
    names = fake.check_training(name, META, kernels, backward=True)
    assert len(names) > 20
    assert names & {*fake.RAISING, "cumsum of floats"} == set()


@pytest.mark.parametrize("kernels", checks.KERNELS)
def test_decoding(kernels):
    assert fake.check_decoding(META, kernels) & {*fake.RAISING, "cumsum of floats"} == set()


def test_a_misplaced_mask_is_found(monkeypatch):
    def misplaced(n_queries, n_keys, device):
        return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries)

    monkeypatch.setattr("gpt_from_scratch.model.attention.causal_mask", misplaced)
    with pytest.raises(RuntimeError, match="on the same device"):
        fake.check_training("language", META, "explicit", backward=False)


def test_misplaced_positions_are_found(monkeypatch):
    def misplaced(in_idx, cache, lengths, limit):
        return torch.arange(in_idx.shape[1])

    monkeypatch.setattr("gpt_from_scratch.model.gpt.token_positions", misplaced)
    with pytest.raises(RuntimeError, match="embedding: expected tensors on the same device"):
        fake.check_training("language", META, "fused", backward=False)


def test_floats_summed_up_are_found():
    with fake.faked(META) as (_, names):
        torch.zeros(3, device=META).cumsum(0)
        assert "cumsum of floats" in names.found
        torch.zeros(3, 3, device=META).median(0)
        assert names.found & fake.RAISING == {"median"}


@pytest.mark.gpu
@pytest.mark.skipif(
    torch.version.cuda is None or torch.cuda.is_available(), reason="for a PyTorch with CUDA on a machine without a GPU"
)
@pytest.mark.parametrize("kernels", checks.KERNELS)
class TestOnFakeGPU:
    @pytest.mark.parametrize("name", checks.TRAININGS)
    def test_fake_trainings(self, name, kernels):
        fake.check_training(name, torch.device("cuda"), kernels, backward=False)

    def test_fake_decoding(self, kernels):
        fake.check_decoding(torch.device("cuda"), kernels)
