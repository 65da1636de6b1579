"""One benchmark in a process of its own, so that neither memory nor threads reach the next."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path

from benchmarks.row import LeftOut, Row

NOT_HERE = 3
"""Exit code where a library that a benchmark compares with, or the device that it is for, is missing."""


def measure(module: str, out: Path, *parts: str) -> int:
    """Append the rows of a benchmark to a file, one JSON object a line, as they arise.

    Args:
        module: name of a module with a function `rows`.
        out: the file.
        parts: of the benchmark, where it has some; all if none is given.

    Returns:
        The exit code: 0, or `NOT_HERE`. Whatever else a benchmark raises, such as that results disagree, is raised.
    """
    try:
        rows = importlib.import_module(module).rows(*parts)
        with out.open("a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(to_json(row)) + "\n")
                file.flush()
                ratio = f", {row.ratio:.2f} times as fast as the fastest other" if row.peers else ""
                print(f"  {row.work}: {row.ours:.3g} s{ratio}", flush=True)
    except ModuleNotFoundError as error:
        print(f"  left out from here on: no module {error.name} is installed", flush=True)
        return NOT_HERE
    except LeftOut as reason:
        print(f"  left out from here on: {reason}", flush=True)
        return NOT_HERE
    return 0


def to_json(row: Row) -> dict[str, object]:
    """Return a row as JSON values, its ratio included."""
    return {**dataclasses.asdict(row), "ratio": row.ratio if row.peers else None}


def from_json(content: dict[str, object]) -> Row:
    """Return the row that `to_json` described."""
    return Row(**{field.name: content[field.name] for field in dataclasses.fields(Row)})


if __name__ == "__main__":
    sys.exit(measure(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
