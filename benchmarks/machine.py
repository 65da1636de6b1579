"""The machine and the libraries that a benchmark was measured with."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from gpt_from_scratch.training.ranks import usable_cores

LIBRARIES = ("torch", "numpy", "tiktoken", "safetensors", "llms-from-scratch", "transformers", "tensorflow-cpu")


def machine_facts() -> dict[str, str | int]:
    """Return processor, cores, threads, memory, GPU and versions by name; unknown ones are left out."""
    facts: dict[str, str | int] = {
        "processor": _processor(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    if "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    if torch.cuda.is_available():
        facts |= {"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    for library in LIBRARIES:
        try:
            facts[library] = version(library)
        except PackageNotFoundError:
            continue
    return facts


def why_no_gpu() -> str | None:
    """Return why there is no CUDA GPU to work on; None where there is one."""
    if torch.cuda.is_available():
        return None
    build = f"with CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    return f"no GPU: PyTorch {torch.__version__}, built {build}, finds none"


def in_words(facts: dict[str, str | int]) -> str:
    """Return the machine in one line, for above a table."""
    gpu = f"one {facts['gpu']}, " if "gpu" in facts else ""
    memory = f", {facts['memory_gib']} GiB" if "memory_gib" in facts else ""
    libraries = ", ".join(f"{name} {facts[name]}" for name in LIBRARIES if name in facts)
    return (
        f"{gpu}{facts['cores']} cores of {facts['processor']} ({facts['instructions']}){memory}, "
        f"{facts['threads']} threads; Python {facts['python']}, {libraries}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # Linux alone has it
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
