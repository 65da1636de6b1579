"""One run that holds the state of the whole pipeline in one row; `gpt summary` writes it too.

DVC's run cache brings results back without running a stage, so no stage can be relied on to log them. This command
reads the present files, and does nothing when their state was summarised before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figures
from gpt_from_scratch.files.nested import at, flatten
from gpt_from_scratch.files.writing import read_json, write_json
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.pipeline.dvc import locked_stages
from gpt_from_scratch.pipeline.project import project_home
from gpt_from_scratch.pipeline.stage import read_declared
from gpt_from_scratch.report.charts import TRAININGS, write_charts
from gpt_from_scratch.tracking.delivery import deliver, deliver_left
from gpt_from_scratch.tracking.facts import (
    ENVIRONMENT,
    PIPELINE_STATE,
    STATE,
    as_param,
    as_params,
    legal,
    machine_facts,
    run_tags,
)
from gpt_from_scratch.tracking.notes import NOTE, edits, run_name, summary_note
from gpt_from_scratch.tracking.run_file import RunFile, now, points
from gpt_from_scratch.tracking.server import Tracking, connect, exclusive, one_line, upload, without_password
from gpt_from_scratch.tracking.views import write_views

log = logging.getLogger(__name__)


def write_summary(root: Path, *, strict: bool = False) -> str | None:
    """Write the summary run of the pipeline's present state, unless there is one.

    Called at the end of `evaluate` and by `make repro`. Errors of the tracking are logged and raised only if `strict`:
    the next call tries again.

    Returns:
        The run's id; None when the state was summarised before, is not complete, or could not be written.

    Raises:
        InputError: when params.yaml or a metrics file is not valid; if `strict`, when the tracking fails.
    """
    if not (root / "metrics/evaluation.json").is_file():
        log.info("MLflow: no summary: metrics/evaluation.json is not there yet")
        return None
    key, params, metrics = pipeline_state(root)
    if reason := out_of_date(root, params):
        log.warning("MLflow: no summary: %s; run dvc repro first", reason)
        return None
    try:
        return _write_once(root, key, params, metrics["evaluation"])
    except Exception as error:
        message = f"MLflow: no summary could be written; gpt summary tries again: {one_line(error)}"
        if strict:
            raise InputError(message) from None
        log.warning(message)
        return None


def attach_report(root: Path, path: Path) -> None:
    """Put the report into the summary run of the present state, if there is one, in place of an older report.

    Errors of the tracking are logged and never raised.
    """
    try:
        tracking = connect(root)
        if run_id := tracking.find_run(f"tags.`{PIPELINE_STATE}` = '{pipeline_state(root)[0]}'"):
            with upload():
                tracking.client.log_artifact(run_id, str(path))
    except Exception as error:
        log.warning("MLflow: the report could not be put into the summary run: %s", one_line(error))


def pipeline_state(root: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return a hash of the pipeline's parameters and metrics, the parameters, and the metrics by file.

    Raises:
        InputError: when params.yaml or a metrics file is not valid.
    """
    params = load_params(root / "params.yaml").model_dump(mode="json")
    metrics = {path.stem: read_json(path) for path in sorted((root / "metrics").glob("*.json"))}
    return hashlib.sha256(json.dumps([params, metrics], sort_keys=True).encode()).hexdigest(), params, metrics


def _write_once(root: Path, key: str, params: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str | None:
    tracking = connect(root)
    with exclusive(root, tracking.uri):
        deliver_left(tracking, root)
        if tracking.find_run(f"tags.`{PIPELINE_STATE}` = '{key}'"):
            return None
        profile = params["profile"]
        values = flatten(evaluation, "/").items()
        words = {legal(name): as_param(value) for name, value in values if isinstance(value, str | bool)}
        edited = edits(root, profile, params)
        note = summary_note(profile, edited, evaluation)
        tags = {**run_tags(root), **words, "kind": "summary", "profile": profile, NOTE: note}
        name = run_name("summary", profile, edited)
        header = {
            "uri": without_password(tracking.uri),
            "name": name,
            "start": now(),
            "checkpoints": None,
            "tags": tags,
        }
        run = RunFile.create(root, header)
        run.append("params", params=as_params(params))
        run.append("points", points=points(figures(evaluation)))
        run.append("tags", tags={PIPELINE_STATE: key})  # late, so that what is found above is complete
        run.append("end", status="FINISHED", time=now())
        try:
            deliver(tracking, run)
        except Exception:
            run.close()  # the next call delivers the rest
            raise
        run.close(remove=True)
        _attach(tracking, root, run.run_id, {"state": key, **machine_facts()})
        write_views(tracking)
        return run.run_id


def _attach(tracking: Tracking, root: Path, run_id: str, facts: Mapping[str, str]) -> None:
    """Put facts, answers, samples, tables and charts into a run, so that the state can be read in MLflow alone."""
    with tempfile.TemporaryDirectory() as name:
        write_json(Path(name) / ENVIRONMENT, facts)
        for file in ("responses.json", "samples/evaluate.json", "tables/classes.json"):
            if (path := root / "metrics" / file).is_file():
                (Path(name) / file).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, Path(name) / file)
        write_charts(root / "metrics" / "plots", Path(name) / "plots")
        with upload():
            tracking.client.log_artifacts(run_id, name)


def training_environments(root: Path) -> dict[str, dict[str, str]]:
    """Return the environment in which each training made its present outputs, by stage, as far as its run is here."""
    if not (os.environ.get("MLFLOW_TRACKING_URI") or (project_home(root) / "mlflow.db").is_file()):
        return {}
    found = {}
    try:
        tracking = connect(root)
        for stage in TRAININGS:
            with contextlib.chdir(root):
                state = read_declared(root, stage).state()
            if run_id := tracking.find_run(f"tags.stage = '{stage}' and tags.`{STATE}` = '{state}'"):
                with tempfile.TemporaryDirectory() as folder:
                    facts = read_json(Path(tracking.client.download_artifacts(run_id, ENVIRONMENT, folder)))
                found[stage] = {key: value for key, value in facts.items() if key not in ("state", "host", "pid")}
    except Exception as error:
        log.warning("MLflow: the trainings' environments could not be read: %s", one_line(error))
    return found


def out_of_date(root: Path, params: Mapping[str, Any]) -> str | None:
    """Return why the metrics may be others than those of params.yaml; None if nothing speaks for it."""
    # The entry of the stage that is running now is written only after its end.
    stages = {name: stage for name, stage in locked_stages(root).items() if name != os.environ.get("DVC_STAGE")}
    made = {out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs", [])}
    for name, stage in stages.items():
        for key, value in stage.get("params", {}).get("params.yaml", {}).items():
            if _canonical(at(params, key)) != _canonical(value):
                return f"{key} in params.yaml is not what the stage {name} last ran with"
        for dep in stage.get("deps", []):
            if made.get(dep["path"], dep.get("md5")) != dep.get("md5"):
                return f"the stage {name} last ran with another {dep['path']}"
    return None


def _canonical(value: Any) -> Any:
    """Read numbers alike, however the two YAML libraries wrote them: DVC's 1e-05 is text to the other."""
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return float(value) if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", value) else value
