"""Delivery of run files to MLflow: of the run at work, and of those that earlier processes left."""

from __future__ import annotations

import base64
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt_from_scratch.tracking.run_file import FILES, Entry, RunFile, left_files
from gpt_from_scratch.tracking.server import Tracking, one_line, without_password

log = logging.getLogger(__name__)

# MLflow's own limits of one request.
POINTS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
DIGEST_LENGTH = 36

FILE_TAG = "run_file"
"""Tag by which a run is found again if its id could not be noted: the process was killed, or the answer lost."""

_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


def deliver(tracking: Tracking, run: RunFile) -> None:
    """Send all that is undelivered, and note in the file that MLflow has it.

    What MLflow refuses as invalid is dropped with a warning, or it would block the rest for ever. Files come last:
    their store is another one, whose failure keeps no figures back.

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
    """Deliver what the files of earlier processes hold for this tracking address; end the runs of killed ones.

    A file is removed when MLflow has all of it and there is no checkpoint to resume its run from.

    Returns:
        The number of runs delivered. What cannot be delivered stays, with a warning.
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
    """Say whether MLflow still has the run; False when somebody deleted it, None when it knows of none."""
    from mlflow.exceptions import MlflowException

    try:
        return tracking.client.get_run(run.run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _deliver_left(tracking: Tracking, run: RunFile) -> bool:
    if run.status is None:  # the process was killed, and could not say so itself
        run.append("end", status="KILLED", time=int(time.time() * 1000))
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
    client, name = tracking.client, run.path.stem
    found = client.search_runs([tracking.experiment_id], f"tags.{FILE_TAG} = '{name}'", max_results=1)
    if not found:
        tags = {**run.header["tags"], FILE_TAG: name}
        found = [client.create_run(tracking.experiment_id, run.header["start"], tags, run.header["name"])]
    run.append("created", run_id=found[0].info.run_id)


def _send_entries(tracking: Tracking, run: RunFile, *, files: bool) -> None:
    for entry in [entry for entry in run.entries if (entry["kind"] in FILES) is files]:
        _send(tracking, run, entry)
        run.entries.remove(entry)


def _send(tracking: Tracking, run: RunFile, entry: Entry) -> None:
    from mlflow.exceptions import MlflowException

    try:
        _SENDERS[entry["kind"]](tracking.client, run, entry)
    except (MlflowException, FileNotFoundError, ValueError, TypeError) as error:
        if isinstance(error, MlflowException) and error.error_code not in _REFUSALS:
            raise
        log.warning("MLflow: dropped %s of run %s: %s", entry["kind"], run.header["name"], one_line(error))


def _send_points(client: Any, run: RunFile, entry: Entry) -> None:
    from mlflow.entities import Metric

    client.log_batch(run.run_id, metrics=[Metric(*point) for point in entry["points"]])


def _send_params(client: Any, run: RunFile, entry: Entry) -> None:
    from mlflow.entities import Param

    params = [Param(key, value) for key, value in entry["params"].items()]
    for first in range(0, len(params), PARAMS_PER_BATCH):
        client.log_batch(run.run_id, params=params[first : first + PARAMS_PER_BATCH])


def _send_tags(client: Any, run: RunFile, entry: Entry) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in entry["tags"].items()])


def _send_end(client: Any, run: RunFile, entry: Entry) -> None:
    client.set_terminated(run.run_id, entry["status"], entry["time"])


def _send_resumed(client: Any, run: RunFile, entry: Entry) -> None:
    del entry
    client.update_run(run.run_id, status="RUNNING")
    if "error" in client.get_run(run.run_id).data.tags:
        client.delete_tag(run.run_id, "error")


def _send_dataset(client: Any, run: RunFile, entry: Entry) -> None:
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


def _send_text(client: Any, run: RunFile, entry: Entry) -> None:
    client.log_text(run.run_id, entry["text"], entry["file"])


def _send_table(client: Any, run: RunFile, entry: Entry) -> None:
    """Send the whole table, as `MlflowClient.log_table` writes it; that would add the rows to those sent before."""
    if not entry["file"].endswith(".json"):
        raise ValueError(f"{entry['file']}: expected a name that ends in .json")
    rows = run.tables[entry["file"]].values()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
    client.log_text(run.run_id, json.dumps(table, default=str), entry["file"])
    logged = [{"path": name, "type": "table"} for name in run.tables]
    client.set_tag(run.run_id, "mlflow.loggedArtifacts", json.dumps(logged))


def _send_artifact(client: Any, run: RunFile, entry: Entry) -> None:
    if entry["content"] is None:
        if run.loaded:
            raise FileNotFoundError(f"{entry['path']} was too large to be kept for later")
        client.log_artifact(run.run_id, entry["path"], entry["folder"])
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(entry["path"]).name
        path.write_bytes(base64.b64decode(entry["content"]))
        client.log_artifact(run.run_id, str(path), entry["folder"])


_SENDERS: dict[str, Callable[[Any, RunFile, Entry], None]] = {
    "points": _send_points,
    "params": _send_params,
    "tags": _send_tags,
    "end": _send_end,
    "resumed": _send_resumed,
    "dataset": _send_dataset,
    "text": _send_text,
    "table": _send_table,
    "artifact": _send_artifact,
}
