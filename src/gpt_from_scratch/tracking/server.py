"""Connection to MLflow: at `MLFLOW_TRACKING_URI`, else a SQLite database in the project's folder."""

from __future__ import annotations

import logging
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.local_addresses import bypass_proxies
from gpt_from_scratch.pipeline.project import project_home
from gpt_from_scratch.tracking.notes import EXPERIMENT_NOTE, NOTE

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "gpt-from-scratch"
PROBE_SECONDS = 3.0
REQUEST_SECONDS, UPLOAD_SECONDS = "5", "600"
_TIMEOUT, _PROGRESS = "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
_CURES = {
    "UNAUTHENTICATED": "the server wants a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN",
    "PERMISSION_DENIED": "the login lacks a right: EDIT on the experiment to write runs, and on a registered model to "
    "add versions; ask who runs the server",
}
"""What to do where the server refuses, by MLflow's code of HTTP status 401 and 403."""
LOCK_SECONDS = 60.0


_opening: list[Future[Tracking]] = []
# A process forked meanwhile would wait for ever for a module that the thread was importing.
os.register_at_fork(before=lambda: wait(_opening, LOCK_SECONDS))


@dataclass(frozen=True)
class Tracking:
    """An open connection to the tracking store at `uri`, with the experiment of all runs of this project."""

    client: MlflowClient
    uri: str
    experiment_id: str

    def find_run(self, query: str) -> str | None:
        """Return the id of the newest run that a search finds."""
        found = self.client.search_runs([self.experiment_id], query, max_results=1)
        return found[0].info.run_id if found else None


def experiment_name() -> str:
    """Return the name of the experiment that all runs belong to: MLflow's own variable says so, or else we."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


@contextmanager
def upload(*, progress: bool = False) -> Iterator[None]:
    """Give requests that send files minutes, where a server that takes figures has to answer within seconds.

    A limit that the user has set holds for both. With `progress`, for large files, MLflow shows it on a terminal.
    """
    longer = {_TIMEOUT: UPLOAD_SECONDS} if os.environ.get(_TIMEOUT) == REQUEST_SECONDS else {}
    shown = {_PROGRESS: "true"} if progress and sys.stderr.isatty() else {}
    before = {name: os.environ.get(name, "") for name in longer | shown}
    os.environ.update(longer | shown)
    try:
        yield
    finally:
        os.environ.update(before)


def refusal(error: BaseException) -> str | None:
    """Return what to do about a server that refuses for good, not for a while; None for any other error."""
    code = {"401": "UNAUTHENTICATED", "403": "PERMISSION_DENIED"}
    found = re.search(r"error code (401|403)\b", str(error))
    return _CURES.get(code[found[1]] if found else str(getattr(error, "error_code", "")))


def tracking_uri(root: Path) -> str:
    """Return the tracking address for the project at `root`."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    # The path is read as part of a URL, in which these two have a meaning of their own. No other letter is written
    # in that way, because MLflow also makes the database's folder and forgets to read the name like that.
    path = re.sub(r"[%?]", lambda letter: quote(letter[0]), str(project_home(root) / "mlflow.db"))
    return f"sqlite:///{path}"


def is_chosen() -> bool:
    """Return whether the user has chosen where the runs go, in place of the project's own database."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI"))


def artifact_root(root: Path) -> Path:
    """Return the folder of the runs' files, where no tracking server keeps them."""
    return project_home(root) / "mlartifacts"


def is_server(uri: str) -> bool:
    """Return whether the address is a tracking server's and not a database's."""
    return uri.startswith(("http://", "https://"))


def without_password(uri: str) -> str:
    """Return the address as it may be shown and stored."""
    return re.sub(r"//[^/@]*@", "//", uri)


def connect(root: Path) -> Tracking:
    """Open the tracking store and the experiment; create both where they are missing.

    Raises:
        InputError: when `MLFLOW_TRACKING_URI` names something that does not answer or cannot be used, or the
            project's own database is not one.
        Exception: whatever MLflow or the file system raises about the project's own database.
    """
    _quieten()
    uri = tracking_uri(root)
    if is_server(uri):
        check_server(uri)
    check_database(root)
    try:
        # Two processes that migrate one fresh database at the same time destroy each other's work.
        with exclusive(root, uri):
            return _open(uri, None if is_server(uri) else artifact_root(root))
    except Exception as error:
        if not is_chosen():
            raise
        raise InputError(
            f"MLFLOW_TRACKING_URI: expected an MLflow server or database that can be used, found "
            f"{without_password(uri)}, which answers: {one_line(error)}; correct the address, or unset the variable "
            "to log into mlflow.db in the project's folder"
        ) from None


def connect_beside(root: Path) -> Future[Tracking]:
    """Do `connect` in a thread: the import of MLflow alone takes seconds."""
    threads = ThreadPoolExecutor(1)
    _opening[:] = [threads.submit(connect, root)]
    threads.shutdown(wait=False)
    return _opening[0]


def connect_to_read(root: Path) -> Tracking:
    """Open the tracking store for a command that is about nothing but its runs.

    Raises:
        InputError: where they cannot be read, in one line; for a database of another MLflow with the cure.
    """
    try:
        return connect(root)
    except InputError:
        raise
    except Exception as error:
        uri, text = without_password(tracking_uri(root)), one_line(error)
        cure = f"; back it up, then: mlflow db upgrade {uri}; or move it away, and a new one is made"
        raise InputError(f"{uri}: {text.partition('. ')[0]}{cure if 'schema' in text else ''}") from None


def check_server(uri: str) -> None:
    """Check that a tracking server answers.

    Raises:
        InputError: when it does not within a few seconds.
    """
    if reason := silence(uri):
        raise InputError(
            f"MLFLOW_TRACKING_URI: expected an MLflow server that answers at {without_password(uri)}, found none "
            f"({reason}); start it, correct the address, or unset the variable to log into mlflow.db in the "
            "project's folder"
        )


def silence(uri: str) -> str | None:
    """Return why a server does not answer; None if it does, whatever it answers."""
    bypass_proxies()
    request = urllib.request.Request(f"{without_password(uri).rstrip('/')}/health")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        # A gateway in front of a server that is away answers in its stead.
        return f"HTTP status {error.code}" if error.code in (502, 503, 504) else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        # Which certificates are good is for MLflow's own settings to say.
        return None if isinstance(reason, ssl.SSLError) else one_line(reason)


def exclusive(
    root: Path, uri: str, name: str = "mlflow.db.lock", seconds: float = LOCK_SECONDS
) -> AbstractContextManager[object]:
    """Return the lock under which the project's database is created and summaries are written; none for a server."""
    from filelock import FileLock

    return nullcontext() if is_server(uri) else FileLock(project_home(root) / name, timeout=seconds)


def one_line(error: object) -> str:
    """Return an error's text without line breaks, at a length that can be read."""
    text = " ".join(str(error).split()) or type(error).__name__
    cure = refusal(error) if isinstance(error, BaseException) else None
    return (text if len(text) <= 200 else f"{text[:200]}…") + (f"; {cure}" if cure else "")


def _quieten() -> None:
    """Set, before MLflow is imported, what it reads from the environment; the user's own settings stay."""
    bypass_proxies()
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        _PROGRESS: "false",
        # By default the client tries for minutes, and the training waits.
        _TIMEOUT: REQUEST_SECONDS,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        # Of `gpt ui`: half a dozen further processes, for jobs on traces, which nobody here starts.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # announces every retry


def check_database(root: Path) -> None:
    """Check the first bytes of the project's own database: MLflow would try to open anything for more than a minute.

    Raises:
        InputError: when it is something else.
    """
    path, start = project_home(root) / "mlflow.db", b""
    if path.is_file() and not is_chosen():
        with path.open("rb") as file:
            start = file.read(16)
    if start and start != b"SQLite format 3\0":
        raise InputError(
            f"{path}: expected MLflow's SQLite database, found a file that begins with {start!r}; move it away and a "
            "new one is made"
        )


def _open(uri: str, artifacts: Path | None) -> Tracking:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri)
    name = experiment_name()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            location = None if artifacts is None else artifacts.as_uri()
            tags = {NOTE: EXPERIMENT_NOTE}
            return Tracking(client, uri, client.create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException as error:
            # Somebody else who shares the server was faster.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if NOTE not in experiment.tags:
        client.set_experiment_tag(experiment.experiment_id, NOTE, EXPERIMENT_NOTE)
    location = experiment.artifact_location
    if artifacts is not None and location.startswith("file:") and location != artifacts.as_uri():
        log.warning(
            "MLflow: the project has been moved: the runs' files are looked for, and written, under %s instead of %s; "
            "cure: python -m gpt_from_scratch.tracking.relocate",
            location,
            artifacts.as_uri(),
        )
    return Tracking(client, uri, experiment.experiment_id)
