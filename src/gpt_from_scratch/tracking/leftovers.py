"""Making good at the start of a stage what earlier ones could not: undelivered runs, and runs that were shot."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from gpt_from_scratch.tracking.outbox import Outbox
from gpt_from_scratch.tracking.server import Tracking, one_line, project_home, without_password

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
    gone = [run for run in running if not _alive(int(run.data.tags.get("pid", 0)), run.info.start_time / 1000)]
    for run in gone:
        tracking.client.set_terminated(run.info.run_id, "KILLED")
    return len(gone)


def _alive(pid: int, since: float) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
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
