"""8-bit weights on x86-64 processors: a quarter of the bytes to read for every generated token.

Each output of a linear layer has its own scale, such that its largest weight is 127. A layer's inputs are split into
two digits of 7 bits, with one scale per row. The rounding of the weights is then the only error that matters, whatever
outliers there are, and a row's result does not depend on the rows beside it. Sums of such products fit the 16 bits in
which processors without VNNI add them, so all processors compute the same whole numbers.

With many rows at once, as in classification, time goes into the products and not into reading weights. Then one digit
of 8 bits is used, from the row's smallest to its largest number (the "zero point" of Dettmers et al. 2022, LLM.int8):
GELU's outputs are hardly ever below zero, so a scale centred on zero would waste half of the steps.
"""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.attention import MultiHeadAttention
from gpt_from_scratch.model.fast import with_one_projection
from gpt_from_scratch.model.gpt import GPTModel

LARGEST_WEIGHT = 127
LARGEST_DIGIT = 63
_ZERO = LARGEST_DIGIT + 1  # FBGEMM's left factor is unsigned: digits are passed as 1 to 127
_STEPS, _MIDDLE = 254, 128  # of the single 8-bit digit: 1 to 255

ActivationBits = Literal[8, 14]
"""Bits of a layer's inputs."""

_product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default


class Int8Linear(nn.Module):
    """Linear layer with 8-bit weights and 14-bit inputs, without gradients. `[..., in]` → `[..., out]`.

    Args:
        linear: the layer whose weights are rounded.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scales, bias = _rounded(linear)
        self._packed = _pack(weight, scales)
        # Constants as tensors: for PyTorch, wrapping a number takes longer than multiplying a row by it.
        for name, value in (
            ("_bias", bias),
            ("_smallest", torch.tensor(1e-30)),
            ("_per_unit", torch.tensor(1 / LARGEST_DIGIT)),
            ("_second", torch.tensor(2.0 * LARGEST_DIGIT)),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        largest = torch.linalg.vector_norm(rows, math.inf, dim=1, keepdim=True)
        # A row of zeros has digits of zeros under any scale.
        scales = torch.maximum(largest, self._smallest).mul_(self._per_unit)
        digits = rows / scales
        high = digits.round()
        both = torch.cat([high, digits.sub_(high).mul_(self._second)])
        first, second = _product(both, 1.0, _ZERO, self._packed).view(2, len(rows), -1).unbind()
        return torch.addcmul(self._bias, first.add_(second.div_(self._second)), scales).view(*x.shape[:-1], -1)


class W8A8Linear(nn.Module):
    """Linear layer with 8-bit weights and 8-bit inputs, without gradients. `[..., in]` → `[..., out]`.

    Args:
        linear: the layer whose weights are rounded.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scales, bias = _rounded(linear)
        self._packed = _pack(weight, scales)
        self.register_buffer("_bias", bias, persistent=False)
        # Contribution to each output of a row's middle, which is subtracted from all of its numbers.
        self.register_buffer("_sums", weight.sum(dim=1) * scales, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        low, high = torch.aminmax(rows, dim=1, keepdim=True)
        middle = (low + high).div_(2)
        scales = (high - low).div_(_STEPS).clamp_(min=1e-30)  # a row of one number has digits of zeros
        products = _product((rows - middle).div_(scales), 1.0, _MIDDLE, self._packed)
        return torch.addcmul(self._bias, products, scales).addr_(middle[:, 0], self._sums).view(*x.shape[:-1], -1)


def to_int8(model: GPTModel, activation_bits: ActivationBits = 14) -> GPTModel:
    """Replace the model's linear layers, the output head included, by 8-bit ones, and return it; embeddings stay.

    The model is then for evaluation only: its parameters are frozen, and attention uses the fused kernel.

    Args:
        activation_bits: with 14, the rounding of the weights is the only error that matters; with 8, products are
            three times as fast as in fp32, on processors with VNNI only.

    Raises:
        InputError: when the processor or the model's device does not support it.
    """
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        raise InputError(
            "evaluate.weights: int8 needs an x86-64 processor, found another, for which PyTorch lacks FBGEMM"
        )
    if activation_bits == 8 and not has_vnni():
        raise InputError("8 bits for activations: expected a processor with AVX-512 VNNI, found one without")
    if model.device.type != "cpu":
        raise InputError(f"evaluate.weights: int8 needs runtime.device cpu, found {model.device.type}")
    layer = Int8Linear if activation_bits == 14 else W8A8Linear
    for block in model.trf_blocks:
        if isinstance(block.att, MultiHeadAttention):
            block.att = with_one_projection(block.att)  # inputs are split into digits once instead of thrice
    for module in list(model.modules()):
        for name, part in module.named_children():
            if isinstance(part, nn.Linear):
                setattr(module, name, layer(part))
    return model.requires_grad_(False)


def has_vnni() -> bool:
    """Return whether the processor has AVX-512 VNNI, which adds products of 8 bits in 32 bits."""
    return bool(torch.cpu.get_capabilities().get("avx512_vnni"))


def _rounded(linear: nn.Linear) -> tuple[Tensor, Tensor, Tensor]:
    """Return a layer's weights as whole numbers, the scale of each output, and the bias, or zeros."""
    weight = linear.weight.detach()
    scales = weight.abs().amax(dim=1) / LARGEST_WEIGHT
    scales[scales == 0] = 1
    bias = torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach().clone()
    return (weight / scales[:, None]).round().to(torch.int8), scales, bias


def _pack(weight: Tensor, scales: Tensor) -> torch.ScriptObject:
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"  # the default, x86, uses oneDNN for some shapes: slow without VNNI
    try:
        with warnings.catch_warnings():
            # PyTorch moves these tensors to another package, which has no product as fast without VNNI yet.
            warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*", category=UserWarning)
            zeros = torch.zeros(len(scales), dtype=torch.long)
            tensor = torch._make_per_channel_quantized_tensor(weight, scales, zeros, 0)
            return torch.ops.quantized.linear_prepack(tensor, None)
    finally:
        torch.backends.quantized.engine = engine
