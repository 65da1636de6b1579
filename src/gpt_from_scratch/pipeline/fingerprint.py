"""Environment fingerprint: facts that affect bitwise results beside parameters, data and code."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.params.pins import PINS, PROCESSOR

LIBRARIES = ("numpy", "safetensors", "scikit-learn", "tensorflow-cpu", "tensorflow", "tiktoken", "torch")


def fingerprint(root: Path) -> dict[str, str]:
    """Return the environment's facts by name; equal facts, and equal threads, mean equal bits.

    Runs and checkpoints note them. They belong into no output of a stage: those must be equal between machines.
    """
    import torch

    facts = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    lock = root / "requirements.lock"
    facts["requirements.lock"] = sha256(lock)[:16] if lock.is_file() else "missing"
    for name in LIBRARIES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    facts |= {"libc": " ".join(platform.libc_ver()).strip(), "cpu": _cpu_model()}
    facts["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    for name in (*PINS, "CUBLAS_WORKSPACE_CONFIG"):
        if value := os.environ.get(name):
            facts[name] = value
    facts["threads"] = str(torch.get_num_threads())
    if torch.cuda.is_available():
        facts |= {"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    elif torch.backends.mps.is_available():
        facts["gpu"] = "MPS"
    return {name: value for name, value in facts.items() if value}


def short(facts: dict[str, str]) -> str:
    """Return a hash of the facts, to see at a glance whether two environments are alike."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def environment_facts(root: Path) -> dict[str, str]:
    """Return the facts, and before them the hash by which runs of the same environment are found."""
    facts = fingerprint(root)
    return {"fingerprint": short(facts), **facts}


def _cpu_model() -> str:
    """Return the processor's name as its maker gives it; nothing where the system does not tell."""
    found = re.search(r"^model name\s*:\s*(.*)$", PROCESSOR.read_text(), re.M) if PROCESSOR.exists() else None
    return found[1] if found else platform.processor()
