"""Delivery of run files to MLflow: of the run at work, and of those that earlier processes left."""

from __future__ import annotations

import base64
import json
import logging
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_from_scratch.tracking.facts import FILE
from gpt_from_scratch.tracking.run_file import FILES, Entry, RunFile, left_files, now
from gpt_from_scratch.tracking.server import Tracking, one_line, upload, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

# MLflow's own limits of one request.
POINTS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
DIGEST_LENGTH = 36

_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


def deliver(tracking: Tracking, run: RunFile) -> None:
    """Send all undelivered entries, and note in the file that MLflow has them.

    Entries that MLflow refuses as invalid are dropped with a warning, or they would block the rest for ever. Files come
    last: their store is another one, whose failure keeps no figures back.

    Raises:
        Exception: whatever MLflow raises when it cannot be reached; a later call sends the rest.
    """
    if run.run_id is None:
        _create(tracking, run)
    figures = bool(run.points) or any(entry["kind"] not in FILES for entry in run.entries)
    while batch := run.points[:POINTS_PER_BATCH]:
        _send(tracking, run, {"kind": "points", "points": batch})
        del run.points[: len(batch)]
    _send_entries(tracking, run, files=False)
    if figures:
        run.append("delivered", what="figures")
    if run.entries:
        _send_entries(tracking, run, files=True)
        run.append("delivered", what="files")


def deliver_left(tracking: Tracking, root: Path) -> int:
    """Deliver the files of earlier processes for this tracking address; end the runs of killed ones.

    A file is removed when MLflow has all of it and there is no checkpoint to resume its run from; it is kept, with a
    warning, when it cannot be delivered.

    Returns:
        The number of runs delivered.
    """
    delivered = 0
    for run in left_files(root):
        if run.header["uri"] == without_password(tracking.uri):
            try:
                delivered += _deliver_left(tracking, run)
            except Exception as error:
                log.warning("MLflow: could not deliver %s, which is kept: %s", run.path, one_line(error))
    if delivered:
        log.info("MLflow: delivered %d runs of earlier processes", delivered)
    return delivered


def is_active(tracking: Tracking, run: RunFile) -> bool | None:
    """Return whether MLflow has the run: False when it was deleted, None when there is no such run."""
    from mlflow.exceptions import MlflowException

    try:
        return tracking.client.get_run(run.run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _deliver_left(tracking: Tracking, run: RunFile) -> bool:
    if run.status is None:  # the process was killed, and could not say so itself
        run.append("end", status="KILLED", time=now())
    waiting = bool(run.points or run.entries)
    if waiting:
        active = run.run_id is None or is_active(tracking, run)
        if active is False:
            log.warning("MLflow: run %s was deleted; so is what was kept of it", run.header["name"])
            run.close(remove=True)
            return False
        if active is None:
            run.begin_anew()
        deliver(tracking, run)
    run.close(remove=not run.resumable)
    return waiting


def _create(tracking: Tracking, run: RunFile) -> None:
    # Its id could not be noted if the process was killed, or the answer lost.
    run_id = tracking.find_run(f"tags.`{FILE}` = '{run.path.stem}'")
    if run_id is None:
        tags = {**run.header["tags"], FILE: run.path.stem}
        made = tracking.client.create_run(tracking.experiment_id, run.header["start"], tags, run.header["name"])
        run_id = made.info.run_id
    run.append("created", run_id=run_id)


def _send_entries(tracking: Tracking, run: RunFile, *, files: bool) -> None:
    for entry in [entry for entry in run.entries if (entry["kind"] in FILES) is files]:
        _send(tracking, run, entry)
        run.entries.remove(entry)


def _send(tracking: Tracking, run: RunFile, entry: Entry) -> None:
    from mlflow.exceptions import MlflowException

    try:
        with upload() if entry["kind"] in FILES else nullcontext():
            _send_entry(tracking.client, run, entry)
    except (MlflowException, FileNotFoundError, ValueError, TypeError) as error:
        if isinstance(error, MlflowException) and error.error_code not in _REFUSALS:
            raise
        log.warning("MLflow: dropped %s of run %s: %s", entry["kind"], run.header["name"], one_line(error))


def _send_entry(client: MlflowClient, run: RunFile, entry: Entry) -> None:
    from mlflow.entities import Metric, Param, RunTag

    match entry["kind"]:
        case "points":
            client.log_batch(run.run_id, metrics=[Metric(*point) for point in entry["points"]])
        case "params":
            params = [Param(key, value) for key, value in entry["params"].items()]
            for first in range(0, len(params), PARAMS_PER_BATCH):
                client.log_batch(run.run_id, params=params[first : first + PARAMS_PER_BATCH])
        case "tags":
            client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in entry["tags"].items()])
        case "end":
            client.set_terminated(run.run_id, entry["status"], entry["time"])
        case "resumed":
            client.update_run(run.run_id, status="RUNNING")
            if "error" in client.get_run(run.run_id).data.tags:
                client.delete_tag(run.run_id, "error")
        case "text":
            client.log_text(run.run_id, entry["text"], entry["file"])
        case "dataset":
            _send_dataset(client, run, entry)
        case "table":
            _send_table(client, run, entry)
        case "artifact":
            _send_artifact(client, run, entry)


def _send_dataset(client: MlflowClient, run: RunFile, entry: Entry) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=entry["name"],
        digest=entry["sha256"][:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": entry["path"]}),
        profile=json.dumps({"sha256": entry["sha256"]}),
    )
    used = DatasetInput(dataset, [InputTag("mlflow.data.context", entry["context"])])
    client.log_inputs(run.run_id, datasets=[used])


def _send_table(client: MlflowClient, run: RunFile, entry: Entry) -> None:
    """Send the whole table, as `MlflowClient.log_table` writes it; that would add the rows to those sent before."""
    if not entry["file"].endswith(".json"):
        raise ValueError(f"{entry['file']}: expected a name that ends in .json")
    rows = run.tables[entry["file"]].values()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
    client.log_text(run.run_id, json.dumps(table, default=str), entry["file"])
    logged = [{"path": name, "type": "table"} for name in run.tables]
    client.set_tag(run.run_id, "mlflow.loggedArtifacts", json.dumps(logged))


def _send_artifact(client: MlflowClient, run: RunFile, entry: Entry) -> None:
    if entry["content"] is None:
        if run.loaded:
            raise FileNotFoundError(f"{entry['path']} was too large to be kept for later")
        client.log_artifact(run.run_id, entry["path"], entry["folder"])
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(entry["path"]).name
        path.write_bytes(base64.b64decode(entry["content"]))
        client.log_artifact(run.run_id, str(path), entry["folder"])
