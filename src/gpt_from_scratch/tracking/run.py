"""One MLflow run for one executed stage, which never gets in the way of the training."""

from __future__ import annotations

import base64
import json
import logging
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.project import project_home
from gpt_from_scratch.pipeline.signals import uninterrupted
from gpt_from_scratch.tracking.delivery import deliver, deliver_left, is_active
from gpt_from_scratch.tracking.facts import (
    ENVIRONMENT,
    STATE,
    as_param,
    as_params,
    chart,
    compact,
    ending,
    legal,
    machine_facts,
    memory_metrics,
    run_tags,
)
from gpt_from_scratch.tracking.notes import NOTE, edits, run_name, stage_note
from gpt_from_scratch.tracking.run_file import LOCK_SECONDS, Point, RunFile, now, points, runs_folder
from gpt_from_scratch.tracking.server import (
    Tracking,
    check_database,
    check_server,
    connect,
    connect_beside,
    is_chosen,
    is_server,
    one_line,
    refusal,
    tracking_uri,
    without_password,
)
from gpt_from_scratch.tracking.system import Machine
from gpt_from_scratch.tracking.thinning import Speed, Thinner
from gpt_from_scratch.training.tracker import Tracker

if TYPE_CHECKING:
    from gpt_from_scratch.training.loop import Record

log = logging.getLogger(__name__)

PER_UPDATE = ("loss", "lr", "grad_norm")
POINTS_BUFFERED = 500
FLUSH_SECONDS = 10.0
RETRY_SECONDS = 60.0
LARGEST_KEPT_FILE = 8 * 2**20
"""Bytes of a file whose content is kept until it is delivered; a larger one is sent from its place."""


def track_stage(
    root: Path,
    stage: str,
    params: Mapping[str, Any],
    profile: str,
    *,
    state: str | None = None,
    counts: str = "tokens",
    checkpoints: Path | None = None,
    later: bool = False,
) -> StageRun:
    """Return the run of a stage, to be entered with `with`.

    Args:
        params: logged as they are, nested keys joined by dots.
        state: hash of the stage's params and deps.
        counts: unit of a record's `seen`; names the speed, `tokens_per_second`.
        checkpoints: folder of the training's checkpoints.
        later: leave what goes into the project's own database to the next stage: opening it takes seconds, and the
            stage may not.

    Raises (on entering):
        InputError: when `MLFLOW_TRACKING_URI` cannot be used, such as when its server does not answer. Later errors of
            the tracking are logged and never raised.
    """
    edited = edits(root, profile, params)
    tags = {"kind": "stage", "stage": stage, "profile": profile, "mlflow.source.name": f"stages/{stage}.py"}
    tags[NOTE] = stage_note(root, stage, profile, edited)
    if state is not None:
        tags[STATE] = state
    return StageRun(root, run_name(stage, profile, edited), params, tags, counts, checkpoints, later=later)


class StageRun(Tracker):
    """A run: everything logged goes into its `RunFile` at once, and from there to MLflow now and then.

    MLflow is imported and its database opened in a thread, beside the stage's work.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        counts: str,
        checkpoints: Path | None = None,
        *,
        later: bool = False,
    ) -> None:
        self._root, self._params, self._tags, self._counts = root, params, tags, counts
        self._header = {
            "uri": without_password(tracking_uri(root)),
            "name": name,
            "start": now(),
            "checkpoints": checkpoints and os.path.relpath(checkpoints, project_home(root)),
        }
        self._file = RunFile(Path(), self._header)  # until the run is entered
        self._later = later and not is_chosen()
        self._connection: Future[Tracking] | None = None
        self._tracking: Tracking | None = None
        self._began = self._flushed = time.monotonic()
        self._failed = self._refused = self._opened = False
        self._spent = 0.0
        self._thinner, self._speed, self._machine = Thinner(), Speed(), Machine(root)
        self._left_out: dict[str, Point] = {}
        self._best = math.inf
        self._earlier: str | None = None
        self._looked = -1

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None as long as it could not be created."""
        return self._file.run_id

    def __enter__(self) -> StageRun:
        check_database(self._root)
        if not self._later:
            self._connection = connect_beside(self._root)
            # A mistake of the user's: before the work begins is the time to say so.
            if is_chosen() and isinstance(error := self._connection.exception(), InputError):
                raise error
        self._file = self._open_file()
        self._file.append("text", text=self._environment({}), file=ENVIRONMENT)
        self._flush()
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del kind, traceback
        status = ending(error)
        if status == "FINISHED":
            self._add(self._left_out.values())
            self._look_at_machine(last=True)
            closing = {"duration_seconds": self._seconds(), **memory_metrics()}
            if (mean := self._speed.mean()) is not None:
                closing[f"mean_{self._counts}_per_second"] = mean
            self._add(points(closing, 0))
        else:
            self._file.append("tags", tags={"error": f"{type(error).__name__}: {one_line(error)}"})
        self._file.append("end", status=status, time=now())
        if self._later and status == "FINISHED" and self._file.stored:
            self._file.close()
            return
        delivered = self._flush(last=True)
        if not delivered and self._file.stored:
            log.warning("MLflow: the run is kept in %s, and delivered when the next stage starts", self._file.path)
        elif not delivered:
            log.warning("MLflow: the stage's run is lost: %s cannot be written", self._file.path)
        self._file.close(remove=delivered and not self._file.resumable)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, JSON values, from which a later process resumes the run."""
        self._file.sync()
        best = self._best if math.isfinite(self._best) else None
        return {"file": self._file.path.name, "seconds": self._seconds(), "speed": self._speed.total, "best": best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume the run whose `state_dict` this is; before the run is entered."""
        if state:
            self._earlier, self._spent = state["file"], state["seconds"]
            self._speed.total = tuple(state["speed"])
            self._best = math.inf if state.get("best") is None else state["best"]

    def log(self, record: Record) -> None:
        """Log a record of the training loop; those of every update are thinned, evaluations are kept."""
        if record.name == "loss":
            self._speed.update(record.seen)
        point = (chart(record.name), record.value, now(), record.step)
        if record.name not in PER_UPDATE:
            self._add([point])
            if record.name == "validation_loss" and record.value < self._best:
                self._best = record.value
                best = {"best_validation_loss": record.value, "best_step": record.step}
                self._add(points(best, record.step))
        elif self._thinner.keep(record.name, record.step):
            self._left_out.pop(record.name, None)
            self._add([point])
            if record.name == "loss" and (speed := self._speed.since_last()) is not None:
                self._add(points({f"speed/{self._counts}_per_second": speed}, record.step))
        else:
            self._left_out[record.name] = point
        self._flush_in_time()
        # After an epoch the caller may generate a sample, which is no part of an update.
        self._speed.pause(forget=record.name == "epoch")

    def metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures, at a step or once and for all."""
        self._add(points(metrics, step or 0))
        self._flush_in_time()

    def text(self, text: str, artifact_file: str) -> None:
        """Log a text as a file of the run; a later text under the same name replaces it."""
        self._append("text", text=text, file=artifact_file)

    def table(self, rows: Sequence[Mapping[str, Any]], artifact_file: str) -> None:
        """Log rows as a table (`*.json`) of the run; later ones under the same name are added, equal ones once.

        A generated text stands there without its prompt and without blank lines, so that a row is seen at a glance.
        """
        self._file.add_rows(artifact_file, [compact(row) for row in rows])
        self._flush_in_time()

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file as it is now."""
        try:
            small = path.stat().st_size <= LARGEST_KEPT_FILE
            content = base64.b64encode(path.read_bytes()).decode("ascii") if small else None
        except OSError as error:
            log.warning("MLflow: dropped a file of run %s: %s", self._header["name"], error)
            return
        self._file.append("artifact", path=str(path.resolve()), folder=folder, content=content)
        if not self._failed:
            self._flush()

    def dataset(self, name: str, path: Path | str, sha256: str, context: str) -> None:
        """Log a data set that the stage read, by its hash; `context` is its use, such as `training`."""
        self._append("dataset", name=name, path=str(path), sha256=sha256, context=context)

    def tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags of the run."""
        self._append("tags", tags={legal(key): as_param(value) for key, value in tags.items()})

    def environment(self, facts: Mapping[str, str]) -> None:
        """Log what decides the last bits, beside machine, process and state, as one file of the run."""
        self.text(self._environment(facts), ENVIRONMENT)

    def _environment(self, facts: Mapping[str, str]) -> str:
        return json.dumps({"state": self._tags.get(STATE), **machine_facts(), **facts}, indent=2)

    def _open_file(self) -> RunFile:
        """Return the file of the run that is resumed, or of a new one."""
        entered = {**run_tags(self._root), **self._tags}
        if self._earlier is not None:
            path = runs_folder(self._root) / self._earlier
            try:
                file = RunFile.load(path, LOCK_SECONDS)
            except (OSError, ValueError) as error:
                log.warning("MLflow: %s cannot be read, a new run begins: %s", path, one_line(error))
                file = None
            if file is not None and file.header["uri"] == self._header["uri"]:
                for name in PER_UPDATE:
                    if chart(name) in file.logged:
                        self._thinner.keep(name, file.logged[chart(name)])
                file.append("resumed")
                file.append("tags", tags=entered)
                return file
            if file is not None:
                file.close()
        file = RunFile.create(self._root, {**self._header, "tags": entered})
        file.append("params", params=as_params(self._params))
        return file

    def _add(self, points: Iterable[Point]) -> None:
        """Add the points that no earlier process has logged."""
        if new := [point for point in points if point[3] > self._file.logged.get(point[0], -1)]:
            self._file.append("points", points=new)

    def _look_at_machine(self, *, last: bool = False) -> None:
        # The step is the second, so that it goes on where an earlier process ended.
        seconds = self._seconds()
        if int(seconds) > self._looked and (figures := self._machine.figures(seconds, now=last)):
            self._looked = int(seconds)
            self._add(points(figures, self._looked))

    def _seconds(self) -> float:
        return self._spent + time.monotonic() - self._began

    def _append(self, kind: str, **content: Any) -> None:
        self._file.append(kind, **content)
        self._flush_in_time()

    def _flush_in_time(self) -> None:
        self._look_at_machine()
        waited = time.monotonic() - self._flushed
        full = len(self._file.points) >= POINTS_BUFFERED
        if self._refused:
            return  # until the end, when it is tried once more
        if waited >= RETRY_SECONDS or (not self._failed and (full or waited >= FLUSH_SECONDS)):
            self._flush()

    def _flush(self, *, last: bool = False) -> bool:
        """Send all undelivered entries, but for the last time only if MLflow is open; return whether that worked."""
        if not last and (self._later or (self._connection is not None and not self._connection.done())):
            return False
        try:
            if self._failed and is_server(tracking_uri(self._root)):
                check_server(tracking_uri(self._root))  # a dead server costs the client far longer
            if self._tracking is None:
                connection, self._connection = self._connection, None
                self._tracking = connection.result() if connection is not None else connect(self._root)
            with uninterrupted():
                if not self._opened:
                    self._open(self._tracking)
                deliver(self._tracking, self._file)
        except Exception as error:
            self._note_failure(error)
            return False
        else:
            if self._failed:
                log.info("MLflow: %s answers again", self._header["uri"])
            self._failed = self._refused = False
            return True
        finally:
            self._flushed = time.monotonic()

    def _note_failure(self, error: Exception) -> None:
        if not self._failed:
            what = "MLflow: %s cannot be written to (%s); the stage continues; gpt register sends the run later"
            log.warning(what, self._header["uri"], one_line(error))
        self._failed, self._refused = True, refusal(error) is not None

    def _open(self, tracking: Tracking) -> None:
        """Deliver the files of earlier processes, and check that the run to be resumed is still there."""
        try:
            deliver_left(tracking, self._root)
        except Exception as error:
            log.warning("MLflow: could not deliver the runs of earlier stages: %s", one_line(error))
        if self._file.run_id is not None and not is_active(tracking, self._file):
            self._file.begin_anew()
        self._opened = True
