"""The state of every random generator that a training can draw from, saved and restored."""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class RandomState:
    """The generators of PyTorch (CPU and GPU), NumPy and Python at one moment.

    Attributes:
        torch_cpu: `[bytes]`, uint8.
        torch_gpu: the same of the current CUDA or MPS device; None without one.
        numpy: `numpy.random.get_state()`.
        python: `random.getstate()`.
    """

    torch_cpu: torch.Tensor
    torch_gpu: torch.Tensor | None
    numpy: Any
    python: Any

    @classmethod
    def capture(cls, device: torch.device | str) -> RandomState:
        """Return the present state; `device` is the training's."""
        gpu = _gpu(device)
        return cls(
            torch.get_rng_state(),
            None if gpu is None else gpu.get_rng_state(),
            np.random.get_state(),
            random.getstate(),
        )

    def restore(self, device: torch.device | str) -> None:
        """Set every generator to this state."""
        torch.set_rng_state(self.torch_cpu)
        gpu = _gpu(device)
        if gpu is not None and self.torch_gpu is not None:
            gpu.set_rng_state(self.torch_gpu)
        np.random.set_state(self.numpy)
        random.setstate(self.python)

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        kind, keys, *rest = self.numpy
        version, internal, gauss = self.python
        return {
            "torch_cpu": _text(self.torch_cpu.numpy()),
            "torch_gpu": None if self.torch_gpu is None else _text(self.torch_gpu.cpu().numpy()),
            "numpy": [kind, _text(keys), *rest],
            "python": [version, _text(np.array(internal, dtype=np.uint32)), gauss],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RandomState:
        """Return the state that `to_json` described."""
        gpu = content["torch_gpu"]
        kind, keys, *rest = content["numpy"]
        version, internal, gauss = content["python"]
        return cls(
            _bytes(content["torch_cpu"]),
            None if gpu is None else _bytes(gpu),
            (kind, _numbers(keys), *rest),
            (version, tuple(_numbers(internal).tolist()), gauss),
        )


def _gpu(device: torch.device | str) -> Any:
    return {"cuda": torch.cuda, "mps": torch.mps}.get(torch.device(device).type)


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


def _numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=np.uint32).copy()
