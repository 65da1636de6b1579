"""The benchmarks from end to end: measure, print one table, keep it as JSON.

Exit code 1 when a benchmark fails, as it does where results disagree; an aim that is missed is named and no failure.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import in_words, machine_facts
from benchmarks.one import NOT_HERE, from_json
from benchmarks.table import missed, table

ON_CPU = ("pretraining", "classifying", "instructing", "generating", "loading", "tokenising")
ON_GPU = ("gpu",)
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None, package: str = "benchmarks") -> int:
    """Run the benchmarks that are asked for; return the exit code.

    Args:
        arguments: of the command line.
        package: where the benchmarks' modules are.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of {', '.join(ON_CPU + ON_GPU)}")
    parser.add_argument("--gpu", action="store_true", help="those for a GPU instead of those for the CPU")
    parser.add_argument(
        "--out", type=Path, help="where the JSON goes; benchmarks/results/cpu.json or gpu.json if not given"
    )
    asked = parser.parse_args(arguments)
    names = asked.only or (ON_GPU if asked.gpu else ON_CPU)
    out = asked.out or RESULTS / f"{'-'.join(names) if asked.only else 'gpu' if asked.gpu else 'cpu'}.json"

    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine_facts(),
        "rows": [],
        "failed": [],
        "left_out": [],
        "seconds": {},
    }
    print(in_words(results["machine"]), flush=True)
    for name in names:
        began = time.monotonic()
        code, rows = run_apart(f"{package}.{name}")
        results["seconds"][name] = round(time.monotonic() - began, 1)
        results["rows"] += rows
        if code:
            results["left_out" if code == NOT_HERE else "failed"].append(name)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    rows = [from_json(row) for row in results["rows"]]
    print(f"\n{table(rows)}\n\n{out} holds this as JSON; it took {sum(results['seconds'].values()):.0f} s.")
    for complaint in missed(rows):
        print(f"not reached: {complaint}")
    for kind in ("left_out", "failed"):
        if results[kind]:
            print(f"{kind.replace('_', ' ')}: {', '.join(results[kind])}")
    return 1 if results["failed"] else 0


def run_apart(module: str, *parts: str, seconds: float | None = None) -> tuple[int | None, list[dict[str, Any]]]:
    """Run one benchmark in its own process; return its exit code and its rows, those before a failure too.

    Args:
        module: the benchmark's name.
        parts: of the benchmark; all if none is given.
        seconds: time limit, at which it is ended: then the exit code is None.
    """
    print(f"\n== {' '.join((module, *parts))}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.jsonl"
        command = [sys.executable, "-m", "benchmarks.one", module, str(out), *parts]
        try:
            code = subprocess.run(command, timeout=seconds).returncode
        except subprocess.TimeoutExpired:
            code = None
        lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    return code, [json.loads(line) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
