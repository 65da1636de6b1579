"""Cross-entropy in few passes: PyTorch's value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gpt_from_scratch.training.cross_entropy import ROWS, cross_entropy


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(2 * ROWS + 5, 50, generator=generator)
    return logits, torch.randint(50, (len(logits),), generator=generator)


@pytest.mark.parametrize("factor", [1.0, 0.3])
def test_value_and_gradient(rows, factor):
    logits, targets = rows
    found = []
    for function in (cross_entropy, F.cross_entropy):
        leaf = logits.clone().requires_grad_()
        loss = function(leaf * 1, targets)
        (factor * loss).backward()
        found.append((loss, leaf.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


def test_unlikely_targets_keep_their_loss():
    logits = torch.tensor([[200.0, 0.0], [0.0, -300.0]])
    assert cross_entropy(logits, torch.tensor([1, 1])).item() == 250.0


def test_without_gradient_the_logits_stay(rows):
    logits, targets = rows
    before = logits.clone()
    torch.testing.assert_close(cross_entropy(logits, targets), F.cross_entropy(logits, targets), rtol=1e-6, atol=0)
    assert torch.equal(logits, before)


def test_logits_in_bf16_are_computed_with_in_fp32(rows):
    """As under autocast, where PyTorch's own does so too."""
    logits, targets = rows[0].bfloat16().requires_grad_(), rows[1]
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(logits, targets)
    expected = F.cross_entropy(logits.detach().float(), targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    loss.backward()
    assert logits.grad.dtype == torch.bfloat16


def test_nothing_to_learn():
    assert cross_entropy(torch.zeros(0, 5, requires_grad=True) * 1, torch.zeros(0, dtype=torch.int64)).isnan()
