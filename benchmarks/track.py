"""A results file as a run in MLflow, where MLflow is installed: `python -m benchmarks.track FILE`."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.one import from_json
from benchmarks.table import table

ROOT = Path(__file__).resolve().parents[1]


def track(path: Path, root: Path = ROOT) -> str | None:
    """Write the results as one run: machine and versions as params, times and ratios as metrics, table and file.

    Args:
        path: a results file.
        root: the project's folder, beside whose runs this one is filed.

    Returns:
        MLflow's name of the run; None where nothing was measured, or MLflow or what the tracking needs is missing.
    """
    if missing := [name for name in ("mlflow", "pydantic") if importlib.util.find_spec(name) is None]:
        print(f"no run in MLflow: {' and '.join(missing)} not installed in {sys.prefix}")
        return None
    results = json.loads(path.read_text(encoding="utf-8"))
    if not results["rows"]:
        print("no run in MLflow: nothing was measured")
        return None
    from gpt_from_scratch.tracking.run import StageRun

    tags = {"kind": "benchmark", "measured": results["date"], "mlflow.source.name": "benchmarks"}
    run = StageRun(root, f"benchmark {path.stem}", results["machine"], tags, "rows")
    with run:
        for row in results["rows"]:
            run.metrics(_figures(row))
        run.text(table(from_json(row) for row in results["rows"]), "table.md")
        run.artifact(path)
    print(f"MLflow: this benchmark is the run {run.run_id}")
    return run.run_id


def _figures(row: dict[str, Any]) -> dict[str, float]:
    figures = {"seconds": row["ours"], "ratio": row["ratio"], **row["figures"]}
    figures |= {f"seconds of {name}": time for name, time in row["peers"].items()}
    return {f"{row['work']}/{name}": value for name, value in figures.items() if value is not None}


if __name__ == "__main__":
    track(Path(sys.argv[1]))
