"""What is checked of a training on a device, each a function of the device: a GPU, or the CPU to try the check itself.

It needs the base install alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.data.instructions.loaders import instruction_loaders, preference_loaders
from gpt_from_scratch.data.instructions.preferences import Pair, collate_pairs
from gpt_from_scratch.data.messages.loaders import message_loaders
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.heads import set_classification_head, train_only
from gpt_from_scratch.model.lora import train_lora
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.training.batch import Loaders
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.frozen_prefix import keep_frozen_prefix
from gpt_from_scratch.training.preferences import PreferenceTuning, reference_log_probabilities
from gpt_from_scratch.training.process_group import ALONE, Group
from gpt_from_scratch.training.resuming import Saver
from gpt_from_scratch.training.tasks import Classification, LanguageModelling, Task

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
TRAININGS = ("language", "messages", "weighed", "kept", "instructions", "preferences", "lora")
KERNELS = ("explicit", "fused")
TOLERANCES = {"fp32": 1e-4, "bf16": 0.01}
"""Largest relative differences between a device's losses and the CPU's in fp32."""


def tiny(**changes: Any) -> GPTConfig:
    """Return the shape of a model whose trainings take a second."""
    # A bias of the keys has no gradient but rounding, which AdamW makes large.
    shape = {"vocab_size": 50, "context_length": 16, "emb_dim": 16, "n_heads": 2, "n_layers": 2, "drop_rate": 0.0}
    return GPTConfig(**{**shape, "qkv_bias": False, "kernels": "fused", **changes})


class _Entries(list):
    max_length = 16


def _entries(number: int) -> _Entries:
    generator = torch.Generator().manual_seed(number)
    lengths = torch.randint(3, 12, (number,), generator=generator).tolist()
    return _Entries(torch.randint(1, 49, (length,), generator=generator).tolist() for length in lengths)


def _pairs(model: GPTModel, number: int, device: torch.device) -> _Entries:
    """Return pairs of answers with the model's log-probabilities of them."""
    found = [Pair((a, b[: len(b) // 2 + 2]), (1, 1), torch.zeros(2)) for a, b in pairwise(_entries(number))]
    reference = reference_log_probabilities(model, [collate_pairs(found, 49)], device)
    assert reference.device.type == "cpu"
    return _Entries(pair._replace(reference=row) for pair, row in zip(found, reference, strict=True))


@dataclass(frozen=True)
class Small:
    """A small training."""

    model: GPTModel
    task: Task
    loaders: Loaders

    @classmethod
    def of(cls, name: str, device: torch.device, **changes: Any) -> Small:
        """Return one of `TRAININGS` with its model on a device; the weights and the batches are always the same."""
        torch.manual_seed(1)
        model = GPTModel(tiny(**changes)).to(device)
        if name == "instructions":
            return cls(model, LanguageModelling(), instruction_loaders(_entries(24), _entries(9), 4, pad_id=49))
        if name == "preferences":
            pairs = (_pairs(model, number, device) for number in (25, 10))
            return cls(model, PreferenceTuning(0.3), preference_loaders(*pairs, 4, pad_id=49))
        if name in ("language", "lora"):
            if name == "lora":
                train_lora(model, rank=2, alpha=4)
            ids = torch.arange(26 * 8).reshape(26, 8) % 50
            data = TensorDataset(ids, (ids + 1) % 50)
            loaders = DataLoader(data, batch_size=4, shuffle=True, drop_last=True), DataLoader(data, batch_size=4)
            return cls(model.to(device), LanguageModelling(), loaders)
        set_classification_head(model, 2)
        train_only(model, "last_block")
        model.to(device)
        ids = torch.randint(50, (24, 9), generator=torch.Generator().manual_seed(2))
        sets, first_block = [TensorDataset(ids, ids[:, 3] % 2), TensorDataset(ids[:9], ids[:9, 3] % 2)], 0
        if name == "kept":
            sets, first_block = keep_frozen_prefix(model, sets, 1e9)
        weights = torch.tensor([0.3, 2.0]) if name == "weighed" else None
        loaders = message_loaders(*sets, 4, padded=not first_block)
        return cls(model, Classification(first_block, class_weights=weights), loaders)


class Stopped(Exception):
    """The training was ended on purpose."""


class Figures(Callback):
    """Keeps what a training measures, and ends it after a step if one is given."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.found: dict[str, float] = {}
        self._stop_after = stop_after

    def log(self, record: Any) -> None:
        if record.name == "loss" and record.step == self._stop_after:
            raise Stopped
        self.found[f"{record.step} {record.name}"] = record.value

    def losses(self) -> dict[str, float]:
        return {key: value for key, value in self.found.items() if key.endswith("loss")}


def train(
    small: Small, figures: Figures | None = None, saver: Saver | None = None, group: Group = ALONE, **changes: Any
) -> Figures:
    """Train for two epochs with evaluations, a schedule and clipping; return what was measured."""
    figures = figures or Figures()
    params = load_params(ROOT / "profiles/quick.yaml").pretrain
    params = params.model_copy(update={"epochs": 2, "eval_every": 3, "batch_size": 4, **changes})
    torch.manual_seed(3)
    fit(small.model, small.task, small.loaders, params, [figures], initial_batches=2, saver=saver, group=group)
    return figures


def assert_close(found: dict[str, float], expected: dict[str, float], tolerance: float) -> None:
    """Compare two trainings' losses."""
    assert found.keys() == expected.keys()
    assert len(expected) > 10
    difference = {key: abs(found[key] / value - 1) for key, value in expected.items()}
    worst = max(difference, key=difference.get)
    assert difference[worst] < tolerance, f"step and name {worst}: expected {expected[worst]}, found {found[worst]}"


def check_placement(name: str, device: torch.device, kernels: str) -> None:
    """Check where a training's tensors are: all that is computed with on the device, batches in the CPU's memory."""
    small = Small.of(name, device, kernels=kernels)
    batch = next(iter(small.loaders[0]))
    parts = [part if isinstance(part, Tensor) else part.values for part in batch]
    assert {part.device.type for part in parts} == {"cpu"}
    loss = small.task.loss(small.model, batch, device)
    loss.backward()
    trained = [parameter for parameter in small.model.parameters() if parameter.requires_grad]
    assert trained
    assert {tensor.device.type for tensor in (loss, *small.model.parameters())} == {device.type}
    assert {parameter.grad.device.type for parameter in trained} == {device.type}


def check_losses(name: str, device: torch.device, precision: str, **changes: Any) -> None:
    """Check a training's losses on the device against the CPU's in fp32, at every update and evaluation."""
    expected = train(Small.of(name, CPU)).losses()
    found = train(Small.of(name, device), precision=precision, **changes).losses()
    assert_close(found, expected, TOLERANCES[precision])


def check_compiled(device: torch.device, precision: str) -> None:
    """Check a compiled training's losses against the CPU's, which are computed as they stand in the code."""
    torch._dynamo.reset()
    try:
        check_losses("language", device, precision, compile=True)
    finally:
        torch._dynamo.reset()


def check_resuming(name: str, device: torch.device, precision: str, folder: Path) -> None:
    """Check that a training with dropout, ended twice, gives the bits of one that was never ended."""

    def run(figures: Figures, saver: Saver | None = None) -> dict[str, Tensor]:
        small = Small.of(name, device, drop_rate=0.1)
        train(small, figures, saver, precision=precision)
        return {key: value.cpu() for key, value in small.model.state_dict().items()}

    whole, found = Figures(), {}
    expected = run(whole)
    for step in (2, 7, None):
        figures = Figures(step)
        try:
            weights = run(figures, Saver(Checkpoints(folder), 0))
        except Stopped:
            assert Checkpoints(folder).newest().step == step
        found |= figures.found
    assert found == whole.found
    for key, value in expected.items():
        assert torch.equal(weights[key], value), key


@contextmanager
def no_memory_left() -> Iterator[None]:
    """Let this process allocate no more of the GPU's memory than it holds already, and some MiB."""
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**26) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def check_out_of_memory(device: torch.device, shortage: Callable[[], AbstractContextManager[None]]) -> None:
    """Check that a lack of memory names smaller batches, and that a training fits afterwards."""
    for within, changes in ((shortage, {"emb_dim": 512, "vocab_size": 50_000}), (nullcontext, {})):
        small = Small.of("language", device, **changes)  # fits; its gradients do not
        with within():
            try:
                train(small)
            except (InputError, torch.OutOfMemoryError) as error:
                assert within is shortage, error
                found = error
    advice = "out of memory with batch_size 4 x accumulation_steps 1: batch_size 2 x accumulation_steps 2 gives"
    assert isinstance(found, InputError), found
    assert str(found).startswith(advice), found
