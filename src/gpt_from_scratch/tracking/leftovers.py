"""Making good at the start of a stage what earlier ones could not: undelivered runs, and runs that were shot."""

from __future__ import annotations

import json
import logging
import socket
import tempfile
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt_from_scratch.pipeline.project import project_home
from gpt_from_scratch.tracking.outbox import Outbox
from gpt_from_scratch.tracking.server import Tracking, one_line, without_password

log = logging.getLogger(__name__)


def pending_folder(root: Path) -> Path:
    """Return the folder of the undelivered runs, a file each."""
    return project_home(root) / ".mlflow-pending"


def replay(tracking: Tracking, root: Path) -> int:
    """Deliver the runs that are kept for this tracking address and remove their files.

    Returns:
        How many were delivered. What cannot be delivered stays, with a warning.
    """
    from filelock import FileLock, Timeout

    folder = pending_folder(root)
    if not any(folder.glob("*.jsonl")):
        return 0
    delivered = 0
    try:
        with FileLock(folder / "lock", timeout=0):
            for path in sorted(folder.glob("*.jsonl")):
                delivered += _replay(tracking, path)
    except Timeout:
        pass  # another stage, started at the same time, is at it
    if delivered:
        log.info("MLflow: delivered %d runs that had been kept in %s", delivered, folder)
    return delivered


def end_abandoned(tracking: Tracking) -> int:
    """Mark as killed the runs that still count as running though their process, on this machine, is gone.

    Returns:
        How many there were. A process that was shot with SIGKILL cannot say so itself.
    """
    running = tracking.client.search_runs(
        [tracking.experiment_id],
        f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'",
        max_results=100,
    )
    gone = [run for run in running if not _alive(run.data.tags, run.info.start_time)]
    for run in gone:
        tracking.client.set_terminated(run.info.run_id, "KILLED")
    return len(gone)


@dataclass(frozen=True)
class Sent:
    """What a run holds already.

    Attributes:
        steps: the last step of every figure.
        rows: `row_key` of every row of its tables, by the table's name.
    """

    steps: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, Set[str]] = field(default_factory=dict)


def row_key(row: Mapping[str, Any]) -> str:
    """Return what equal rows of a table have in common."""
    return json.dumps(row, sort_keys=True, default=str)


def reopen(tracking: Tracking, run_id: str, tags: Mapping[str, str]) -> Sent | None:
    """Let a run that an earlier process was ended in go on in this one; None when it was deleted meanwhile."""
    from mlflow.entities import RunTag
    from mlflow.exceptions import MlflowException

    client = tracking.client
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    if run.info.lifecycle_stage != "active":
        return None
    client.update_run(run_id, status="RUNNING")
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    if "error" in run.data.tags:
        client.delete_tag(run_id, "error")
    steps = {name: max(point.step for point in client.get_metric_history(run_id, name)) for name in run.data.metrics}
    return Sent(steps, {name: _rows(tracking, run_id, name) for name in _tables(run.data.tags)})


def _tables(tags: Mapping[str, str]) -> list[str]:
    """Return the names of a run's tables, which MLflow keeps in a tag."""
    return [logged["path"] for logged in json.loads(tags.get("mlflow.loggedArtifacts", "[]"))]


def _rows(tracking: Tracking, run_id: str, name: str) -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = tracking.client.download_artifacts(run_id, name, folder)
            table = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:  # somebody has deleted it
            return set()
    return {row_key(dict(zip(table["columns"], row, strict=True))) for row in table["data"]}


def _alive(tags: Mapping[str, str], start: int) -> bool:
    """Say whether the process that a run's tags name is at work; `start` of the run in ms, if they say none."""
    import psutil

    try:
        process = psutil.Process(int(tags.get("pid", 0)))
        since = int(tags.get("process_entered", start)) / 1000
        # A later process may have been given the same number.
        return process.create_time() <= since + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _replay(tracking: Tracking, path: Path) -> bool:
    try:
        outbox = Outbox.load(path)
        if outbox.uri != without_password(tracking.uri):
            return False
        if outbox.run_id is not None and not _is_active(tracking, outbox):
            log.warning("MLflow: run %s was deleted; so is what was kept of it", outbox.name)
        else:
            outbox.deliver(tracking)
        path.unlink()
    except Exception as error:
        log.warning("MLflow: could not deliver %s, which is kept: %s", path, one_line(error))
        return False
    return True


def _is_active(tracking: Tracking, outbox: Outbox) -> bool:
    """Say whether the run is still wanted; one that the store does not know at all is to be made anew."""
    from mlflow.exceptions import MlflowException

    try:
        return tracking.client.get_run(outbox.run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        outbox.run_id = None
        return True
