"""The same instructions on every x86-64 processor: what the numerical libraries otherwise choose by the processor.

They read these variables when they are loaded, so this comes before the first import of one of them.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params import load_params

PINS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own loops; every x86-64 processor since about 2015 has AVX2
    "MKL_CBWR": "COMPATIBLE",  # matrix products; the only setting that MKL keeps on Intel's and AMD's processors alike
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
"""What is set, by variable."""

_NUMERICAL = ("numpy", "torch")


def pin_instructions(root: Path) -> None:
    """Set `PINS` for this process if `runtime.portable` asks for it; a mistake in params.yaml is left to the stage.

    Args:
        root: the project's folder.

    Raises:
        RuntimeError: when a numerical library has made its choice already.
    """
    try:
        wanted = load_params(root / "params.yaml").runtime.portable
    except InputError:
        return
    if not wanted or platform.machine() not in ("x86_64", "AMD64"):
        return
    if loaded := [name for name in _NUMERICAL if name in sys.modules]:
        raise RuntimeError(f"runtime.portable: expected to come before numerical libraries, found {', '.join(loaded)}")
    os.environ.update(PINS)
