"""What is checked of several processes, each with its own GPU; see `gpu_checks`. It needs the base install alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import distributed

from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.training.environment import prepare
from gpt_from_scratch.training.process_group import joined
from gpt_from_scratch.training.ranks import Place

from gpu_checks import ROOT, Small, assert_close, train  # isort: skip

NAMES = ("language", "weighed", "kept", "preferences")
SHARDINGS = ("none", "full")
SECONDS = 120


def one_of(rank: int, size: int, kind: str, folder: Path, names: Sequence[str]) -> None:
    """Do the trainings as one of several processes, on a device of its own; rank 0 writes the losses."""
    found = {}
    for sharding in SHARDINGS:
        changes = {"device": kind, "threads": 1, "processes": size, "sharding": sharding}
        runtime = load_params(ROOT / "profiles/quick.yaml").runtime.model_copy(update=changes)
        with joined(Place(rank, size, rank, size, str(folder / f"rendezvous-{sharding}")), runtime) as group:
            device = prepare(runtime, size)
            if kind == "cuda":
                assert distributed.get_backend_config() == "cpu:gloo,cuda:nccl"
                assert torch.cuda.current_device() == rank
            for name in names:
                found[f"{sharding} {name}"] = train(Small.of(name, device), group=group).found
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))


def check_processes(size: int, device: torch.device, folder: Path, names: Sequence[str] = NAMES) -> None:
    """Check the losses of several processes, with and without sharded weights, against those of one."""
    context = get_context("spawn")
    shared = (size, device.type, folder, names)
    processes = [context.Process(target=one_of, args=(rank, *shared), daemon=True) for rank in range(size)]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(SECONDS)
            assert process.exitcode == 0, f"exit code {process.exitcode}; None: not ended after {SECONDS} s"
    finally:
        for process in processes:
            process.kill()
    found = json.loads((folder / "found.json").read_text())
    for name in names:
        expected = train(Small.of(name, device)).losses()
        for sharding in SHARDINGS:
            figures = found[f"{sharding} {name}"]
            assert_close({key: figures[key] for key in figures if key.endswith("loss")}, expected, 1e-4)
