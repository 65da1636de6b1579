"""The device, the threads and the determinism of a process that computes."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import torch

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.ranks import usable_cores

if TYPE_CHECKING:
    from gpt_from_scratch.params.sections import Runtime

log = logging.getLogger(__name__)


def choose_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `mps`.

    `auto` takes a CUDA GPU, else Apple's MPS, else the CPU.

    Raises:
        InputError: when a device is named that PyTorch cannot use here.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, usable in available.items() if usable)
    elif not available[name]:
        usable = ", ".join(device for device, present in available.items() if present)
        raise InputError(f"runtime.device: {name!r} cannot be used on this machine; usable: {usable}")
    return torch.device(name)


def prepare(runtime: Runtime, processes: int = 1) -> torch.device:
    """Set threads and determinism for this process, and return the device to work on; warn if `auto` is the CPU.

    Args:
        processes: how many share this machine's cores.
    """
    if runtime.threads or processes > 1:
        torch.set_num_threads(runtime.threads or max(1, usable_cores() // processes))
    # cuBLAS needs a fixed workspace for reproducible sums, and reads it when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The same as `use_deterministic_algorithms`, which imports the compiler besides: two seconds.
    torch.set_deterministic_debug_mode("error" if runtime.deterministic else "default")
    # Filling every new tensor finds reads of uninitialised memory, which no result here depends on, and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    device = choose_device(runtime.device)
    if (runtime.device, device.type) == ("auto", "cpu"):
        log.warning("NO GPU FOUND: device 'auto' falls back to the CPU, on which full-size models train for hours")
    return device
