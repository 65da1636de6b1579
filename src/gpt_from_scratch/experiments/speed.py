"""The training-speed ladder: one change after the other, tokens a second and losses side by side (ch05/10)."""

from __future__ import annotations

import gc
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import nn

from gpt_from_scratch.evaluation.figures import figure_text
from gpt_from_scratch.experiments.timing import Say, Timing, in_turn, wait
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.attention import MultiHeadAttention
from gpt_from_scratch.model.layers import GELU, LayerNorm, use_kernels
from gpt_from_scratch.training.precision import accelerated
from gpt_from_scratch.training.tasks import LanguageModelling

LR, WEIGHT_DECAY = 5e-4, 0.1
BYTES_A_WEIGHT = 16
"""A weight, its gradient and AdamW's two moments."""
AGREEMENT = 1e-3
"""Largest relative difference between the losses of two rungs that compute the same in fp32."""


@dataclass(frozen=True)
class Rung:
    """The switches of a rung; those for GPUs alone are off on a CPU."""

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
        """True if its losses equal those of the first rung up to rounding in fp32."""
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


def measure(names: list[str], sizes: Mapping[str, int], device: torch.device, say: Say) -> dict[str, Timing]:
    """Train some updates on each rung: tokens a second by the median update, and the loss of the last.

    The rungs take turns, update by update, so that a slow moment of the machine falls on all alike. Where the memory
    does not hold all of them, they come one after the other.

    Raises:
        ValueError: when two rungs that compute the same in fp32 end at different losses.
    """
    found: dict[str, Timing] = {}
    losses: dict[str, float] = {}
    rungs = {name: rung for name, rung in ladder(device.type == "cuda").items() if name in names}
    if not any(map(shutil.which, ("g++", "clang++"))):
        lacking = [name for name, rung in rungs.items() if rung.compiled]
        found |= {name: Timing(marks=["needs a C++ compiler"]) for name in lacking}
        rungs = {name: rung for name, rung in rungs.items() if name not in lacking}
    together = fits(len(rungs), sizes, device)
    say(f"{len(rungs)} rungs, {'in turn' if together else 'one after the other: the memory does not hold all'}")
    for group in [list(rungs)] if together else [[name] for name in rungs]:
        for name, (rate, loss) in train_some({name: rungs[name] for name in group}, sizes, device).items():
            found[name] = Timing({"tokens": rate, "loss": loss})
            say(f"{name}: {rate:,.0f} tokens/s, loss {figure_text(loss, 'loss')}")
            if rungs[name].computes_the_same:
                losses[name] = loss
        gc.collect()
    if losses and max(losses.values()) - min(losses.values()) > AGREEMENT * min(losses.values()):
        raise ValueError(f"expected equal losses, found {losses}")
    return found


def fits(rungs: int, sizes: Mapping[str, int], device: torch.device) -> bool:
    """Return whether the memory holds so many trainings, and as much again for what they compute."""
    import psutil

    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in build(Rung(), sizes).parameters())
    free = torch.cuda.mem_get_info()[0] if device.type == "cuda" else psutil.virtual_memory().available
    return 2 * rungs * BYTES_A_WEIGHT * weights < free


def ladder(gpu: bool) -> dict[str, Rung]:
    """Return the rungs from the book's training on, each with what is on below it."""
    rungs, rung = {}, Rung()
    for name, change in _CHANGES.items():
        if name in _FOR_A_GPU and not gpu:
            continue
        rung = replace(rung, **change)
        rungs[name] = rung
    return rungs


def train_some(
    rungs: Mapping[str, Rung], sizes: Mapping[str, int], device: torch.device
) -> dict[str, tuple[float, float]]:
    """Return tokens per second and the last update's loss of short trainings, which take turns."""
    trainings = {name: ShortTraining(rung, sizes, device) for name, rung in rungs.items()}
    # The first update sets things up, and compiles: it is not measured.
    seconds = in_turn({name: training.update for name, training in trainings.items()}, sizes["updates"])
    torch.set_float32_matmul_precision("highest")
    return {name: (training.tokens / seconds[name], training.loss) for name, training in trainings.items()}


class ShortTraining:
    """A short training on random tokens, one update at a time.

    Attributes:
        tokens: tokens of a batch.
        loss: the loss of the last update, before it.
    """

    def __init__(self, rung: Rung, sizes: Mapping[str, int], device: torch.device) -> None:
        torch.manual_seed(123)
        self.rung, self.device, self.loss = rung, device, math.nan
        batch = sizes["batch"] * rung.batches
        self.tokens = batch * sizes["tokens"]
        self._batches = iter(torch.randint(sizes["vocab_size"], (sizes["updates"] + 1, batch, sizes["tokens"] + 1)))
        self._model = build(rung, sizes).to(device)
        fused = {"fused": True} if rung.fused_adamw else {}
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, **fused)
        self._task = accelerated(LanguageModelling(), "bf16" if rung.bf16 else "fp32", rung.compiled)

    def update(self) -> None:
        """Make one update on the next batch."""
        # This setting is the process's, and the rung before may have left another.
        torch.set_float32_matmul_precision("high" if self.rung.tensor_cores else "highest")
        rows = next(self._batches)
        self._optimizer.zero_grad()
        loss = self._task.loss(self._model, (rows[:, :-1].contiguous(), rows[:, 1:].contiguous()), self.device)
        loss.backward()
        self._optimizer.step()
        self.loss = loss.item()
        wait(self.device)


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
