"""Experiments in MLflow: the time that a stage took with certain parameters, and a study's table."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.tracking.facts import as_params
from gpt_from_scratch.tracking.run import StageRun
from gpt_from_scratch.tracking.server import connect, one_line

log = logging.getLogger(__name__)

MOST_RUNS = 1000
MOST_FIGURES = 24


def stage_seconds(root: Path, stage: str, wanted: Mapping[str, Params]) -> dict[str, float]:
    """Return the duration of a stage by experiment, without those that have no run; `wanted` are their parameters.

    DVC's run cache brings results back without a run. The time is therefore that of the newest run with the same
    parameters, of the experiment's own where there is one.
    """
    try:
        tracking = connect(root)
        query = f"tags.stage = '{stage}' and attributes.status = 'FINISHED'"
        order = ["attributes.start_time DESC"]
        runs = list(tracking.client.search_runs([tracking.experiment_id], query, max_results=MOST_RUNS, order_by=order))
    except Exception as error:
        log.warning("MLflow: no times: %s", one_line(error))
        return {}
    found = {}
    for name, params in wanted.items():
        values = as_params(params.model_dump(mode="json"))
        same = [run for run in runs if run.data.params and run.data.params.items() <= values.items()]
        same.sort(key=lambda run: run.data.tags.get("dvc_experiment") != name)  # stable: the newest stay first
        if same and "duration_seconds" in same[0].data.metrics:
            found[name] = same[0].data.metrics["duration_seconds"]
    return found


def log_study(
    root: Path,
    study: str,
    table: str,
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, float],
    profile: str,
) -> str | None:
    """Write a study's table as one run, unless the same table is there already.

    Args:
        table: in Markdown; `rows` are the same as records.
        figures: the study's headline by variant; of very many the first are logged.

    Returns:
        The run's id; None where there was nothing to write, or it could not be written.
    """
    key = hashlib.sha256(f"{study}\0{table}".encode()).hexdigest()
    try:
        tracking = connect(root)
        if tracking.find_run(f"tags.table = '{key}'"):
            return None
    except Exception as error:
        log.warning("MLflow: the table is not logged: %s", one_line(error))
        return None
    tags = {"kind": "experiments", "study": study, "profile": profile, "mlflow.source.name": "gpt experiments"}
    with StageRun(root, f"experiments {study}", {"study": study}, tags, "variants") as run:
        run.metrics(dict(list(figures.items())[:MOST_FIGURES]))
        run.text(table, "table.txt")
        columns = list(dict.fromkeys(name for row in rows for name in row))
        run.table([{name: row.get(name) for name in columns} for row in rows], "table.json")
        run.tags({"table": key})
    return run.run_id
