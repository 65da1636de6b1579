"""The linear layer: PyTorch's, or oneDNN's where that is faster.

On x86-64, PyTorch multiplies fp32 matrices by MKL, which on AMD's processors uses AVX2 even where they have AVX-512.
oneDNN, which PyTorch ships as well, uses the widest instruction set there is, and on AMD's processors also reads the
weights with all cores for a single row, as in decoding. With AVX2 alone it is the faster one for `x Wᵀ`, and MKL for
the two products of the backward pass. On Intel's processors MKL uses AVX-512 too; there oneDNN is faster only without
gradients and for a limited number of rows, as in decoding several texts at once
(docs/performance.md#what-pays-on-a-cpu).

With `runtime.portable` MKL is held to SSE2, the only instructions that give the same bits on Intel's and AMD's
processors, and oneDNN to AVX2: there it is three to five times as fast, and gives the same bits as well. For more than
one row its products with AVX2 are sums over at most 1,024 fused steps, one after the other, which depend on the shapes
alone (oneDNN 3.12, `brgemm_matmul_utils.cpp`; tests/model/test_linear.py holds it).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gpt_from_scratch.model.config import Kernels

ROWS_ON_INTEL = range(4, 513)
"""Numbers of rows for which oneDNN is faster on Intel's processors."""


class Linear(nn.Linear):
    """`nn.Linear` with a choice of kernels; same parameters, same names. `[..., in]` → `[..., out]`."""

    kernels: Kernels = "explicit"

    def forward(self, x: Tensor) -> Tensor:
        if (self.kernels == "fused" or mkl_is_pinned()) and suits_onednn(x, self.weight):
            if torch.is_grad_enabled():
                return _Product.apply(x, self.weight, self.bias)
            return _times_transposed(x, self.weight, self.bias)
        return super().forward(x)


def times_transposed(a: Tensor, b: Tensor) -> Tensor:
    """Return `a bᵀ` for matrices `[m, k]` and `[n, k]`, by the library that is faster; without gradients."""
    rows_in_order = a.is_contiguous() and b.is_contiguous()
    return _times_transposed(a, b) if suits_onednn(a, b) and (rows_in_order or _in_any_order()) else a @ b.T


def suits_onednn(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN multiplies `x` `[..., in]` by `weight` faster than PyTorch does by itself."""
    return (
        # First: the compiler cannot trace the rest, and would break the graph at every layer.
        not torch.compiler.is_compiling()
        and x.device.type == weight.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and x.dtype == weight.dtype == torch.float32
        and x.dim() > 1
        and x.numel() > 0
        and torch.backends.mkldnn.is_available()
        and _is_faster(x.numel() // x.shape[-1])
    )


def _is_faster(rows: int) -> bool:
    if mkl_is_pinned():
        return rows > 1
    if is_intels():
        return _has_avx512() and not torch.is_grad_enabled() and rows in ROWS_ON_INTEL
    return _has_avx512() or torch.backends.cpu.get_cpu_capability() == "AVX2"


def _in_any_order() -> bool:
    """Return whether oneDNN is faster for transposed matrices too, as those of the backward pass are."""
    return mkl_is_pinned() or _has_avx512()


def _has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def mkl_is_pinned() -> bool:
    """Return whether MKL and oneDNN are held to the instructions of every processor (`params/pins.py`)."""
    return os.environ.get("MKL_CBWR") == "COMPATIBLE" and os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX2"


@cache
def is_intels() -> bool:
    """Return whether the processor is Intel's: MKL checks the maker, not the instruction set alone."""
    return "Intel" in str(torch.cpu.get_capabilities().get("cpu_name", ""))


def _times_transposed(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `a bᵀ + bias` for `a` `[..., k]` and `b` `[n, k]`, in any memory order."""
    return torch.ops.mkldnn._linear_pointwise.default(a, b, bias, "none", [], "")


def _by_pytorch(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.t()


class _Product(torch.autograd.Function):
    """`x Wᵀ + bias` by oneDNN, and its derivatives by the library that is faster."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _times_transposed(x.flatten(0, -2), weight, bias).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        rows, columns = gradient.flatten(0, -2), x.flatten(0, -2)
        product = _times_transposed if _in_any_order() else _by_pytorch
        return (
            product(rows, weight.t()).view_as(x) if needs_x else None,
            product(rows.t(), columns.t()) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
        )
