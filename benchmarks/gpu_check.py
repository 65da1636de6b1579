"""All that is to be known of a GPU: the tests in tests/gpu, then the benchmark, in one JSON file within a time limit.

`make test-gpu` starts it. It needs pytest and the base install alone, opens no connection, and names what is missing.
Exit code 1 when a test fails or results disagree.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests/gpu"
OUT = ROOT / "benchmarks/results/gpu.json"
SECONDS = 480.0
TESTS_SECONDS = 300.0
"""The most of it that the tests may take; the benchmark gets the rest."""

NOTHING_COLLECTED = 5
"""Pytest's exit code where all files were skipped, for want of a package."""

COSTS = {
    **dict.fromkeys(("torch", "numpy", "pydantic", "safetensors", "tiktoken", "yaml"), "nothing is tested or measured"),
    "pytest": "the tests are left out",
    **dict.fromkeys(("pandas", "regex", "tqdm"), "the recipes' tests and the benchmark are left out"),
    "triton": "nothing is compiled, which makes trainings slower",
    **dict.fromkeys(("transformers", "llms_from_scratch"), "the benchmark has one less to compare with"),
}
"""What it costs when a package, by its module's name, is missing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests and the benchmark that fit the time; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="where the JSON goes")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time limit of everything together")
    asked = parser.parse_args(arguments)
    until = time.monotonic() + asked.seconds

    missing = {name: cost for name, cost in COSTS.items() if importlib.util.find_spec(name) is None}
    if "torch" in missing:
        print(f"error: no package torch is installed for {sys.executable}: {COSTS['torch']}", file=sys.stderr)
        return 1
    import torch

    from benchmarks.machine import in_words, machine_facts, why_no_gpu

    if reason := why_no_gpu():
        print(reason)
        if torch.version.cuda is None or "pytest" in missing:
            return 0
        print("With fake tensors, which have a device and no values:", flush=True)
        return 1 if run_tests(TESTS_SECONDS)["failed"] else 0
    for name, cost in missing.items():
        print(f"missing: {name}: {cost}")
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine_facts(),
        "missing": missing,
        "tests": None if "pytest" in missing else {},
    }
    print(in_words(results["machine"]), flush=True)
    if "pytest" not in missing:
        results["tests"] = run_tests(min(TESTS_SECONDS, asked.seconds))
    results |= run_benchmark(until)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    report(results, asked.out)
    return 1 if results["failed"] or (results["tests"] or {}).get("failed") else 0


def run_tests(seconds: float) -> dict[str, Any]:
    """Run tests/gpu; return how many passed, which failed and which were skipped, with the reasons."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = Path(folder) / "outcomes.jsonl"
        command = [sys.executable, "-m", "pytest", "-c", str(TESTS / "gpu.ini"), "--confcutdir", str(TESTS), "-rs"]
        code = run_within([*command, "--tb=short", str(TESTS)], seconds, {"GPU_OUTCOMES": str(outcomes)})
        lines = outcomes.read_text(encoding="utf-8").splitlines() if outcomes.exists() else []
    rows = [json.loads(line) for line in lines]
    failed, skipped = (
        {row["test"]: row["about"] for row in rows if row["outcome"] == kind} for kind in ("failed", "skipped")
    )
    if code is None:
        failed["pytest"] = f"ended after {seconds:.0f} s, its time limit"
    elif code and not failed and not (code == NOTHING_COLLECTED and skipped):
        failed["pytest"] = f"exit code {code}; what it printed says why"
    passed = sum(row["outcome"] == "passed" for row in rows)
    slowest = sorted(rows, key=lambda row: -row["seconds"])[:5]
    return {
        "passed": passed,
        "failed": failed,
        "skipped": skipped,
        "seconds": round(time.monotonic() - began, 1),
        "slowest": {row["test"]: row["seconds"] for row in slowest},
    }


def run_within(command: Sequence[str], seconds: float, variables: Mapping[str, str]) -> int | None:
    """Run a command, and end it with all processes that it started when its time is up; return the exit code or None.

    Args:
        variables: of the environment, beside this process's.
    """
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, start_new_session=True)
    try:
        return process.wait(max(1.0, seconds))
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_benchmark(until: float, module: str = "benchmarks.gpu") -> dict[str, Any]:
    """Run the parts of the benchmark that fit the time, each in its own process.

    Args:
        until: end of the time, by `time.monotonic`.
        module: the benchmark, with its `PARTS`.

    Returns:
        The rows; the parts that failed, that were left out since something is missing, and that were cut, with the
        reason; and the seconds of each.
    """
    from benchmarks.__main__ import run_apart
    from benchmarks.one import NOT_HERE

    found: dict[str, Any] = {"rows": [], "failed": [], "left_out": [], "cut": {}, "seconds": {}}
    try:
        parts = importlib.import_module(module).PARTS
    except ModuleNotFoundError as error:
        print(f"{module}: left out: the package {error.name} is not installed", flush=True)
        return {**found, "left_out": [module]}
    for name, reckoned in parts.items():
        left = until - time.monotonic()
        if left < reckoned:
            found["cut"][name] = f"reckoned to take {reckoned:.0f} s, {max(0.0, left):.0f} s were left"
            continue
        began = time.monotonic()
        code, rows = run_apart(module, name, seconds=left)
        found["seconds"][name] = round(time.monotonic() - began, 1)
        found["rows"] += rows
        if code is None:
            found["cut"][name] = f"did not end within the {left:.0f} s that were left"
        elif code:
            found["left_out" if code == NOT_HERE else "failed"].append(name)
    return found


def report(results: Mapping[str, Any], out: Path) -> None:
    """Print the tests' outcome, the table, and what was cut or failed."""
    from benchmarks.one import from_json
    from benchmarks.table import missed, table

    rows = [from_json(row) for row in results["rows"]]
    print(f"\n{table(rows)}\n")
    if tests := results["tests"]:
        print(f"tests: {tests['passed']} passed, {len(tests['failed'])} failed, {len(tests['skipped'])} skipped")
        for name, about in tests["failed"].items():
            print(f"failed: {name}: {about}")
    for complaint in missed(rows):
        print(f"not reached: {complaint}")
    for name, about in results["cut"].items():
        print(f"cut: {name}: {about}")
    for kind in ("left_out", "failed"):
        if results[kind]:
            print(f"{kind.replace('_', ' ')}: {', '.join(results[kind])}")
    print(f"{out} holds this as JSON.")


if __name__ == "__main__":
    sys.exit(main())
