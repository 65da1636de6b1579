"""Times of several ways to do one thing: in turn, in one run, medians, each beside the published figure."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments.study import Form, Measurement
from gpt_from_scratch.files.writing import write_json

if TYPE_CHECKING:
    import torch

Say = Callable[[str], object]


@dataclass
class Measured:
    """What one way of doing it came to.

    Attributes:
        ours: figures by column; empty where it was not measured.
        marks: why not, or what to know.
    """

    ours: dict[str, float] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)


class Measure(Protocol):
    """Times all forms of a measurement, by name, at given sizes on a device."""

    def __call__(  # noqa: D102
        self, names: list[str], sizes: Mapping[str, int], device: torch.device, say: Say
    ) -> dict[str, Measured]: ...


def measure(
    root: Path,
    name: str,
    study: Measurement,
    *,
    reduced: bool,
    only: tuple[str, ...] = (),
    changes: Mapping[str, int] | None = None,
    say: Say = print,
) -> list[tuple[Form, Measured]]:
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
    found = _measure_of(name)(here, sizes, device, say)
    results = [(form, found.get(form.name) or Measured(marks=["needs a CUDA GPU"])) for form in chosen]
    if sizes != study.full:
        for form, measured in results:
            if measured.ours and form.published:
                measured.marks.append("other sizes than the published ones")
    content = {
        "machine": machine(device),
        "sizes": dict(sizes),
        "forms": {form.name: vars(measured) for form, measured in results},
    }
    write_json(result_file(root, name), content)
    return results


def result_file(root: Path, name: str) -> Path:
    """Return where the last measurement lies."""
    return root / ".cache" / "experiments" / f"{name}.json"


def in_turn(works: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1) -> dict[str, float]:
    """Run every work `warmup` times unmeasured, then all in turn `repeats` times; return the medians in seconds.

    A slow moment of the machine falls on all alike.
    """
    for work in works.values():
        for _ in range(warmup):
            work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in times.items()}


def wait(device: torch.device) -> None:
    """Let a GPU finish what it was given; a CPU is done when a function returns."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the times are of."""
    import torch

    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": f"{device.type}: {name}", "threads": torch.get_num_threads(), "torch": version("torch")}


def _measure_of(name: str) -> Measure:
    if name == "attention":
        from gpt_from_scratch.experiments.attention import measure_attention

        return measure_attention
    if name == "speed":
        from gpt_from_scratch.experiments.speed import measure_speed

        return measure_speed
    if name == "kv-cache":
        from gpt_from_scratch.experiments.decoding import measure_decoding

        return measure_decoding
    raise InputError(f"{name}: expected attention, speed or kv-cache, which are the measurements there is code for")
