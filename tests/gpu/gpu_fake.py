"""Forward passes without a GPU that find misplaced tensors: of each tensor its shape and device, and no values.

A fake tensor may be on a device that is not there. `meta` works with every build of PyTorch and takes the project's
code the GPU's way wherever that differs from the CPU's; `cuda` needs a build with CUDA.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from gpt_from_scratch.generation.sampling import Sampling, keep_top_k, token_probabilities
from gpt_from_scratch.generation.static_step import StaticStep
from gpt_from_scratch.model import GPTModel, KVCache
from gpt_from_scratch.model.heads import set_classification_head, train_only
from gpt_from_scratch.model.lora import train_lora
from gpt_from_scratch.model.sequences import Sequences

from gpu_checks import CPU, Small, tiny  # isort: skip

RAISING = {
    *("bincount", "cumprod", "histc", "kthvalue", "median", "nll_loss2d_forward", "put_", "scatter_reduce"),
    *("_ctc_loss", "_embedding_bag", "grid_sampler_2d_backward", "reflection_pad1d_backward", "upsample_bilinear2d"),
}
"""Operations without a deterministic form on CUDA, which a training with deterministic algorithms would end with.

Those of https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html that could come up.
"""


MOVING = {"_to_copy", "copy_"}


class Names(TorchDispatchMode):
    """Notes the names of all operations, those of the backward pass too, and refuses tensors on two devices.

    A fake tensor mode does that itself for most operations, but not for embeddings on `meta`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.overloadpacket.__name__
        tensors = [part for part in args if isinstance(part, Tensor)]
        if len(kinds := {part.device.type for part in tensors if part.dim()}) > 1 and name not in MOVING:
            raise RuntimeError(f"{name}: expected tensors on the same device, found them on {' and '.join(kinds)}")
        floats = any(part.is_floating_point() for part in tensors)
        self.found.add("cumsum of floats" if name == "cumsum" and floats else name)
        return operation(*args, **(kwargs or {}))


@contextmanager
def faked(device: torch.device) -> Iterator[tuple[FakeTensorMode, Names]]:
    """Make every tensor of the block a fake one."""
    # What `torch.tensor` makes on `meta` is no fake tensor.
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, Names() as names:
        yield mode, names


def check_training(name: str, device: torch.device, kernels: str, backward: bool) -> set[str]:
    """Check a training's loss, and its backward pass if asked; return the names of the operations.

    Raises:
        RuntimeError: PyTorch's, where an operation takes tensors of two devices.
    """
    small = Small.of(name, CPU, kernels=kernels)  # batches need their values, and come from the CPU's memory anyway
    batch = next(iter(small.loaders[0]))
    with faked(device) as (mode, names):
        with torch.device(device):  # PyTorch cannot move a fake model
            model = GPTModel(tiny(kernels=kernels, drop_rate=0.0 if name == "kept" else 0.1))
            if name in ("messages", "weighed", "kept"):
                set_classification_head(model, 2)
                train_only(model, "last_block")
            if name == "lora":
                train_lora(model, rank=2, alpha=4)
        parts = tuple(
            Sequences(mode.from_tensor(part.values), part.lengths)
            if isinstance(part, Sequences)
            else mode.from_tensor(part)
            for part in batch
        )
        weights = getattr(small.task, "_class_weights", None)
        if weights is not None:
            small.task._class_weights = mode.from_tensor(weights)
        loss = small.task.loss(model, parts, device)
        assert loss.device.type == device.type
        if backward:
            loss.backward()
            grads = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
            assert {grad.device.type for grad in grads} == {device.type}
    return names.found


def check_decoding(device: torch.device, kernels: str) -> set[str]:
    """Check the steps of decoding: with and without a cache, rows of unequal length, constant shapes, sampling."""
    with faked(device) as (_, names), torch.no_grad():
        with torch.device(device):
            model = GPTModel(tiny(kernels=kernels)).eval()
        ids, last = (torch.zeros(3, width, dtype=torch.long, device=device) for width in (5, 1))
        cache = KVCache(model.config, 3, 12, device, torch.float32)
        logits = [model(ids)[:, -1], model(ids, cache)[:, -1]]
        cache.seek(5)
        logits.append(model(last, cache)[:, -1])
        places = torch.zeros(3, dtype=torch.long, device=device)
        cache.seek(6, places)
        logits += [model(last, cache)[:, -1], StaticStep(model, cache)._compute()]
        chosen = [token_probabilities(part, Sampling(temperature=0.7, top_k=5)) for part in logits]
        chosen += [keep_top_k(part, 3) for part in logits]
        assert {part.device.type for part in (*logits, *chosen)} == {device.type}
    return names.found
