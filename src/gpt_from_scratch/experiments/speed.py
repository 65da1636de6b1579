"""The training-speed ladder: one change after the other, tokens a second and losses side by side (ch05/10)."""

from __future__ import annotations

import gc
import shutil
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import nn

from gpt_from_scratch.experiments.measure import Measured, Say, wait
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.attention import MultiHeadAttention
from gpt_from_scratch.model.layers import GELU, LayerNorm, use_kernels
from gpt_from_scratch.training import LanguageModelling
from gpt_from_scratch.training.precision import accelerated

LR, WEIGHT_DECAY = 5e-4, 0.1
AGREEMENT = 1e-3
"""Largest relative difference between the losses of two rungs that compute the same in fp32."""


@dataclass(frozen=True)
class Rung:
    """What is on; a GPU's own rungs are off on a CPU, those above them are not."""

    tensor_cores: bool = False
    fused_adamw: bool = False
    bf16: bool = False
    norm_and_gelu: bool = False
    attention: bool = False
    all_kernels: bool = False
    compiled: bool = False
    vocabulary_multiple: int = 1
    batches: int = 1

    @property
    def computes_the_same(self) -> bool:
        """Whether its losses are those of the first rung up to rounding in fp32."""
        return not (self.tensor_cores or self.bf16 or self.vocabulary_multiple > 1 or self.batches > 1)


_CHANGES: dict[str, dict[str, bool | int]] = {
    "book": {},
    "tensor-cores": {"tensor_cores": True},
    "fused-adamw": {"fused_adamw": True},
    "bf16": {"bf16": True},
    "norm-and-gelu": {"norm_and_gelu": True},
    "fused-attention": {"attention": True},
    "all-kernels": {"all_kernels": True},
    "compiled": {"compiled": True},
    "padded-vocabulary": {"vocabulary_multiple": 64},
    "larger-batch": {"batches": 4},
}
_FOR_A_GPU = ("tensor-cores", "bf16")


def measure_speed(names: list[str], sizes: Mapping[str, int], device: torch.device, say: Say) -> dict[str, Measured]:
    """Train some updates on each rung: tokens a second by the median update, and the loss of the last.

    The rungs come one after the other, since each holds a whole training.

    Raises:
        ValueError: when two rungs that compute the same in fp32 end at different losses.
    """
    found: dict[str, Measured] = {}
    losses: dict[str, float] = {}
    for name, rung in ladder(device.type == "cuda").items():
        if name not in names:
            continue
        if rung.compiled and not any(map(shutil.which, ("g++", "clang++"))):
            found[name] = Measured(marks=["needs a C++ compiler"])
            continue
        rate, loss = train_some(rung, sizes, device)
        found[name] = Measured({"tokens": rate, "loss": loss})
        say(f"{name}: {rate:,.0f} tokens/s, loss {loss:.4f}")
        if rung.computes_the_same:
            losses[name] = loss
        gc.collect()
    if losses and max(losses.values()) - min(losses.values()) > AGREEMENT * min(losses.values()):
        raise ValueError(f"expected equal losses, found {losses}")
    return found


def ladder(gpu: bool) -> dict[str, Rung]:
    """Return the rungs from the book's training on, each with what is on below it."""
    rungs, rung = {}, Rung()
    for name, change in _CHANGES.items():
        if name in _FOR_A_GPU and not gpu:
            continue
        rung = replace(rung, **change)
        rungs[name] = rung
    return rungs


def train_some(rung: Rung, sizes: Mapping[str, int], device: torch.device) -> tuple[float, float]:
    """Return tokens per second and the last update's loss of a short training."""
    # What a rung switches in the process is set for each of them.
    torch.set_float32_matmul_precision("high" if rung.tensor_cores else "highest")
    torch.manual_seed(123)
    batch = sizes["batch"] * rung.batches
    ids = torch.randint(sizes["vocab_size"], (sizes["updates"] + 1, batch, sizes["tokens"] + 1))
    model = build(rung, sizes).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, **({"fused": True} if rung.fused_adamw else {})
    )
    task = accelerated(LanguageModelling(), "bf16" if rung.bf16 else "fp32", rung.compiled)
    times, value = [], 0.0
    for rows in ids:
        began = time.perf_counter()
        optimizer.zero_grad()
        loss = task.loss(model, (rows[:, :-1].contiguous(), rows[:, 1:].contiguous()), device)
        loss.backward()
        optimizer.step()
        value = loss.item()
        wait(device)
        times.append(time.perf_counter() - began)
    torch.set_float32_matmul_precision("highest")
    # The first update sets things up, and compiles.
    return batch * sizes["tokens"] / statistics.median(times[1:]), value


def build(rung: Rung, sizes: Mapping[str, int]) -> nn.Module:
    """Return the model of a rung; up to the size of the vocabulary all have the same initial weights."""
    shape = {field.name: sizes[field.name] for field in fields(GPTConfig) if field.name in sizes}
    shape["vocab_size"] = -(-sizes["vocab_size"] // rung.vocabulary_multiple) * rung.vocabulary_multiple
    model = GPTModel(GPTConfig(**shape, context_length=sizes["tokens"], drop_rate=0.0))
    switched: tuple[type[nn.Module], ...] = ()
    if rung.norm_and_gelu:
        switched += (LayerNorm, GELU)
    if rung.attention:
        switched += (MultiHeadAttention,)
    for part in model.modules():
        if isinstance(part, switched):
            part.kernels = "fused"
    if rung.all_kernels:
        use_kernels(model, "fused")
    return model
