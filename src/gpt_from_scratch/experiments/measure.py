"""A measurement on this machine: its forms are timed, and the figures are kept for the table."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments.study import Form, Measurement
from gpt_from_scratch.experiments.timing import Say, Timing
from gpt_from_scratch.files.writing import write_json

if TYPE_CHECKING:
    import torch


def measure(
    root: Path,
    name: str,
    study: Measurement,
    *,
    reduced: bool,
    only: tuple[str, ...] = (),
    changes: Mapping[str, int] | None = None,
    say: Say = print,
) -> list[tuple[Form, Timing]]:
    """Time a measurement's forms on this machine, and write `.cache/experiments/<name>.json`.

    Args:
        reduced: start from sizes for two cores instead of the published ones.
        only: the forms that are meant; all if none is named.
        changes: other sizes.

    Raises:
        InputError: for an unknown form or size.
        ValueError: when forms that compute the same disagree.
    """
    import torch

    known = [form.name for form in study.forms]
    if unknown := sorted(set(only) - set(known)):
        raise InputError(f"{name}: expected some of {', '.join(known)}, found {unknown[0]}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = [form for form in study.forms if not only or form.name in only]
    here = [form.name for form in chosen if not form.gpu or device.type == "cuda"]
    sizes = {**(study.reduced if reduced else study.full), **(changes or {})}
    if other := sorted(sizes.keys() - study.full.keys()):
        raise InputError(f"{name}: --set: expected some of {', '.join(study.full)}, found {other[0]}")
    found = _function(study)(here, sizes, device, say)
    results = [(form, found.get(form.name) or Timing(marks=["needs a CUDA GPU"])) for form in chosen]
    if sizes != study.full:
        for form, timing in results:
            if timing.ours and form.published:
                timing.marks.append("other sizes than the published ones")
    content = {
        "machine": machine(device),
        "sizes": dict(sizes),
        "forms": {form.name: vars(timing) for form, timing in results},
    }
    write_json(result_file(root, name), content)
    return results


def result_file(root: Path, name: str) -> Path:
    """Return where the last measurement lies."""
    return root / ".cache" / "experiments" / f"{name}.json"


def machine(device: torch.device) -> dict[str, Any]:
    """Return the device, threads and version of PyTorch that the times are of."""
    import torch

    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": f"{device.type}: {name}", "threads": torch.get_num_threads(), "torch": version("torch")}


def _function(study: Measurement) -> Callable[..., dict[str, Timing]]:
    """Return the function `measure` of the module that a study names."""
    name = f"gpt_from_scratch.experiments.{study.module}"
    function = getattr(importlib.import_module(name), "measure", None) if find_spec(name) else None
    if function is None:
        raise InputError(f"module: expected one in experiments/ with a function measure, found {study.module}")
    return function
