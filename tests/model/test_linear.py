"""The linear layer's two ways to its products: the same numbers, values and gradients."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from gpt_from_scratch.model.linear import ROWS_ON_INTEL, Linear, mkl_is_pinned, suits_onednn, times_transposed
from gpt_from_scratch.model.lora import LinearWithLoRA
from gpt_from_scratch.params.pins import PINS, has_effect, lacks_avx2

CAPABILITY = torch.backends.cpu.get_cpu_capability()
here = pytest.mark.skipif(CAPABILITY not in ("AVX2", "AVX512"), reason="oneDNN is not the faster one without AVX2")


@pytest.fixture(autouse=True)
def another_makers_processor(monkeypatch):
    """There oneDNN makes all products, of which the tests are."""
    monkeypatch.setattr("gpt_from_scratch.model.linear.is_intels", lambda: False)


@pytest.fixture
def layers():
    torch.manual_seed(1)
    plain = nn.Linear(24, 40)
    ours = Linear(24, 40)
    ours.load_state_dict(plain.state_dict())
    ours.kernels = "fused"
    return plain, ours


@pytest.fixture(params=["AVX2", "AVX512"])
def capability(request, monkeypatch):
    """The products' library is chosen by this, not by what the processor has."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)
    return request.param


@here
@pytest.mark.parametrize("shape", [(1, 24), (6, 24), (3, 17, 24), (2, 4, 9, 24)])
def test_values_and_gradients(layers, shape, capability):
    found = []
    x = torch.randn(shape)
    for layer in layers:
        own = x.clone().requires_grad_()
        out = layer(own)
        (out.square() * torch.linspace(-1, 1, 40)).sum().backward()
        found.append((out, own.grad, layer.weight.grad, layer.bias.grad))
    assert type(found[1][0].grad_fn).__name__ == "_ProductBackward"
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@here
def test_gradients_are_computed_only_where_they_are_asked_for(layers):
    _, ours = layers
    ours.requires_grad_(False)
    x = torch.randn(1, 24, requires_grad=True)
    ours(x).sum().backward()
    assert x.grad is not None
    assert ours.weight.grad is ours.bias.grad is None
    ours.requires_grad_(True)
    ours(x.detach()).sum().backward()
    assert ours.weight.grad is not None


@here
def test_without_bias_and_with_memory_in_another_order(layers):
    _, ours = layers
    ours.bias = None
    x = torch.randn(24, 50).t()
    assert not x.is_contiguous()
    torch.testing.assert_close(ours(x), x @ ours.weight.t(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (torch.zeros(8), torch.zeros(4, 8)),
        (torch.zeros(64, 8, dtype=torch.float64), torch.zeros(4, 8, dtype=torch.float64)),
        (torch.zeros(64, 8, dtype=torch.bfloat16), torch.zeros(4, 8)),
        (torch.zeros(64, 8, device="meta"), torch.zeros(4, 8, device="meta")),
    ],
    ids=["a vector", "float64", "bf16", "no cpu"],
)
def test_the_rest_is_left_to_pytorch(x, weight, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert not suits_onednn(x, weight)


def test_under_autocast_products_are_bf16s(layers):
    with torch.autocast("cpu", torch.bfloat16):
        assert layers[1](torch.randn(6, 24)).dtype == torch.bfloat16


def test_no_rows_at_all(layers):
    x = torch.zeros(2, 0, 24, requires_grad=True)
    found = layers[1](x)
    found.sum().backward()
    assert found.shape == (2, 0, 40)
    assert x.grad.shape == x.shape
    assert not layers[1].weight.grad.any()


def test_the_compiler_sees_one_graph(layers):
    plain, ours = layers
    x = torch.randn(6, 24)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(ours, backend="eager", fullgraph=True)(x), plain(x))


@pytest.mark.parametrize(
    ("intels", "capability", "expected"),
    [
        (False, "AVX512", (True, True)),
        (False, "AVX2", (True, False)),
        (False, "DEFAULT", (False, False)),
        (True, "AVX512", (False, False)),
        (True, "AVX2", (False, False)),
    ],
)
@pytest.mark.parametrize("rows", [1, 512])
def test_the_library_of_a_trainings_products(layers, rows, intels, capability, expected, monkeypatch):
    """Forward and backward, on each kind of processor; the products themselves run on the one at hand."""
    by_onednn = []
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr("gpt_from_scratch.model.linear.is_intels", lambda: intels)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(
        "gpt_from_scratch.model.linear._times_transposed",
        lambda a, b, bias=None: by_onednn.append(len(a)) or nn.functional.linear(a, b, bias),
    )
    found = layers[1](torch.randn(rows, 24, requires_grad=True))
    forward = len(by_onednn)
    found.sum().backward()
    assert (forward == 1, len(by_onednn) - forward == 2) == expected


@here
def test_with_avx2_transposed_matrices_are_left_to_pytorch(capability, monkeypatch):
    a, b = torch.randn(6, 24), torch.randn(24, 6)
    used = []
    monkeypatch.setattr("gpt_from_scratch.model.linear._times_transposed", lambda a, b: used.append(b) or a @ b.T)
    with torch.no_grad():
        torch.testing.assert_close(times_transposed(a, b.T), a @ b)
        assert len(used) == (capability == "AVX512")
        times_transposed(a, a)
        assert len(used) == 1 + (capability == "AVX512")


@pytest.mark.parametrize(
    ("rows", "gradients", "expected"),
    [
        (ROWS_ON_INTEL.start - 1, False, False),
        (ROWS_ON_INTEL.start, False, True),
        (ROWS_ON_INTEL.stop - 1, False, True),
        (ROWS_ON_INTEL.stop, False, False),
        (ROWS_ON_INTEL.start, True, False),
    ],
)
def test_on_intels_processors_only_some_rows_without_gradients(rows, gradients, expected, monkeypatch):
    monkeypatch.setattr("gpt_from_scratch.model.linear.is_intels", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    with torch.set_grad_enabled(gradients):
        assert suits_onednn(torch.zeros(1, rows, 8), torch.zeros(4, 8)) is expected


def test_the_explicit_way_is_pytorchs(layers):
    plain, ours = layers
    ours.kernels = "explicit"
    x = torch.randn(64, 24)
    assert torch.equal(ours(x), plain(x))


def test_it_is_a_linear_layer_to_everybody(layers):
    plain, ours = layers
    assert isinstance(ours, nn.Linear)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    assert LinearWithLoRA(ours, 2, 1.0)(torch.randn(40, 24)).shape == (40, 40)
    torch.manual_seed(3)
    fresh = nn.Linear(5, 6)
    torch.manual_seed(3)
    assert torch.equal(Linear(5, 6).weight, fresh.weight)


@here
@pytest.mark.parametrize("shape", [(1, 24), (2, 4, 9, 24)])
def test_the_same_values_without_gradients(layers, shape):
    x = torch.randn(shape)
    with torch.no_grad():
        plain, ours = (layer(x) for layer in layers)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)


CHAINS = """
import numpy as np, torch
from gpt_from_scratch.model.linear import Linear, mkl_is_pinned
assert mkl_is_pinned()
def chain(a, b):  # a sum in fp32 of fused steps: fp64 holds their products exactly
    total = 0
    for first in range(0, a.shape[1], 1024):
        found = np.zeros((len(a), len(b)), np.float32)
        for k in range(first, min(first + 1024, a.shape[1])):
            found = (found + a[:, k : k + 1].astype(np.float64) * b[:, k].astype(np.float64)).astype(np.float32)
        total = total + found
    return total
torch.manual_seed(1)
for threads in (1, 2):
    torch.set_num_threads(threads)
    shapes = (2, 96, 288), (7, 128, 1530), (1488, 96, 384), (512, 128, 512), (600, 1536, 96), (9, 96, 2)
    for rows, fan_in, fan_out in shapes:
        layer = Linear(fan_in, fan_out, bias=False)
        x, gradient = torch.randn(rows, fan_in, requires_grad=True), torch.randn(rows, fan_out)
        y = layer(x)
        y.backward(gradient)
        products = ((y, x, layer.weight), (x.grad, gradient, layer.weight.T), (layer.weight.grad, gradient.T, x.T))
        for found, a, b in products:
            a, b, found = (part.detach().numpy() for part in (a, b, found))
            assert (chain(a[:20], b[:20]) == found[:20, :20]).all(), (threads, rows, fan_in, fan_out)
"""


@pytest.mark.skipif(not has_effect() or lacks_avx2(), reason="the pins are for x86-64 with AVX2")
def test_pinned_products_are_the_same_sums_on_every_processor(root):
    """Their order follows from the shapes alone, so no processor's caches, maker or cores can change a bit."""
    environment = {**os.environ, **PINS, "PYTHONPATH": str(root / "src")}
    subprocess.run([sys.executable, "-c", CHAINS], env=environment, check=True)


def test_a_single_row_and_other_settings_stay_with_pytorch(monkeypatch):
    for name, value in PINS.items():
        monkeypatch.setenv(name, value)
    weight = torch.zeros(4, 8)
    assert [suits_onednn(torch.zeros(rows, 8), weight) for rows in (1, 2, 600)] == [False, True, True]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    assert not mkl_is_pinned()
