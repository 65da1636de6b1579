"""The same instructions on every x86-64 processor: what the numerical libraries otherwise choose by the processor.

They read these variables when they are loaded, so this comes before the first import of one of them. So does how long
their threads wait for one another in busy loops.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

from gpt_from_scratch.params.sections import Runtime

PINS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own loops; nearly every x86-64 processor since about 2015 has AVX2
    "MKL_CBWR": "COMPATIBLE",  # matrix products; the only setting that MKL keeps on Intel's and AMD's processors alike
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
"""What is set, by variable."""

_NUMERICAL = ("numpy", "torch")
PROCESSOR = Path("/proc/cpuinfo")  # Linux alone has it


def pin_instructions(runtime: Runtime) -> None:
    """Set `PINS` for this process if `runtime.portable` asks for it.

    Raises:
        RuntimeError: when a numerical library has made its choice already.
        SystemExit: where the processor lacks the instructions: the libraries would not ask, and crash.
    """
    if not runtime.portable or not has_effect():
        return
    if loaded := [name for name in _NUMERICAL if name in sys.modules]:
        raise RuntimeError(f"runtime.portable: expected to come before numerical libraries, found {', '.join(loaded)}")
    if lacks_avx2():
        sys.exit("error: runtime.portable: expected a processor with AVX2 and FMA, found one without; set it to false")
    os.environ.update(PINS)


def shorten_waits() -> None:
    """Let threads that wait for one another sleep soon, unless the environment says otherwise.

    By default those of GNU OpenMP, PyTorch's on Linux, wait in a busy loop for milliseconds. Beside two other busy
    processes two threads then took five times as long as one (docs/performance.md).
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "10000"


def has_effect() -> bool:
    """Return whether the processor is of the kind that `PINS` are for."""
    return platform.machine() in ("x86_64", "AMD64")


def lacks_avx2() -> bool:
    """Return whether the processor is known to lack what `PINS` choose."""
    flags = re.search(r"^flags\s*:(.*)$", PROCESSOR.read_text(), re.M) if PROCESSOR.exists() else None
    return flags is not None and not {"avx2", "fma"} <= set(flags[1].split())
