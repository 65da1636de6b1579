"""One MLflow run for one executed stage, which never gets in the way of the training."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.pipeline.signals import uninterrupted
from gpt_from_scratch.tracking.facts import as_param, flatten, git_tags, legal, machine_tags, memory_metrics
from gpt_from_scratch.tracking.leftovers import Sent, end_abandoned, pending_folder, reopen, replay, row_key
from gpt_from_scratch.tracking.notes import NOTE, edits, run_name, stage_note
from gpt_from_scratch.tracking.outbox import Message, Outbox, Point
from gpt_from_scratch.tracking.server import Tracking, check_server, connect, is_server, one_line, tracking_uri
from gpt_from_scratch.tracking.server import without_password as shown
from gpt_from_scratch.tracking.system import Machine
from gpt_from_scratch.tracking.thinning import Speed, Thinner
from gpt_from_scratch.training.tracker import Tracker

log = logging.getLogger(__name__)

PER_UPDATE = ("loss", "lr", "grad_norm")
POINTS_BUFFERED = 500
FLUSH_SECONDS = 10.0
RETRY_SECONDS = 60.0


class Record(Protocol):
    """What the training loop yields, as far as it is needed here: a stage without training loads no PyTorch."""

    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def seen(self) -> int: ...  # noqa: D102


def track_stage(
    root: Path,
    stage: str,
    params: Params | Mapping[str, Any],
    profile: str,
    tags: Mapping[str, str] | None = None,
    *,
    state: str | None = None,
    counts: str = "tokens",
    earlier: Mapping[str, Any] | None = None,
) -> StageRun:
    """Return the run of a stage, to be entered with `with`.

    Args:
        root: the project's folder that the stage runs in.
        params: logged as they are, nested keys joined by dots.
        tags: further tags, such as which data and which weights are used.
        state: hash of the stage's params and deps.
        counts: what a record's `seen` counts; names the speed, `tokens_per_second`.
        earlier: what `state_dict` returned in an earlier process whose run is to go on.

    Raises (on entering):
        InputError: when `MLFLOW_TRACKING_URI` cannot be used, such as when its server does not answer. Once the stage
            runs, nothing that happens to the tracking raises.
    """
    values = params.model_dump(mode="json") if isinstance(params, Params) else params
    edited = edits(root, profile, values)
    own = {"kind": "stage", "stage": stage, "profile": profile, "mlflow.source.name": f"stages/{stage}.py"}
    own[NOTE] = stage_note(root, stage, profile, edited)
    if state is not None:
        own["state"] = state
    return StageRun(root, run_name(stage, profile, edited), values, {**own, **(tags or {})}, counts, earlier)


class StageRun(Tracker):
    """A run: everything logged is buffered, sent now and then, and kept in a file if it cannot be sent at all."""

    def __init__(
        self,
        root: Path,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        counts: str,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        self._root, self._counts = root, counts
        uri = shown(tracking_uri(root))
        goes_on = earlier is not None and earlier["uri"] == uri
        self._outbox = Outbox(uri, name, _now(), {}, earlier["run_id"] if goes_on else None)
        self._tags, self._params = tags, params
        self._tracking: Tracking | None = None
        self._began = self._flushed = time.monotonic()
        self._failed = self._opened = False
        self._sent = Sent()
        self._spent = earlier["seconds"] if earlier else 0.0
        self._thinner = Thinner(earlier["thinner"] if goes_on else None)
        self._speed = Speed(total=tuple(earlier["speed"])) if earlier else Speed()
        self._left_out: dict[str, Point] = {}
        self._rows: dict[str, set[str]] = {}
        self._machine = Machine(root)
        self._looked = int(self._spent) if earlier else -1
        if goes_on:
            self._outbox.points = [tuple(point) for point in earlier["points"]]

    @property
    def run_id(self) -> str | None:
        """MLflow's name of the run; None as long as it could not be created."""
        return self._outbox.run_id

    def __enter__(self) -> StageRun:
        try:
            self._tracking = connect(self._root)
        except InputError:
            raise  # a mistake of the user's, and before the work begins is the time to say so
        except Exception as error:
            self._note_failure(error)
        entered = {"process_entered": str(_now())}
        self._outbox.tags = {**git_tags(self._root), **machine_tags(), **self._tags, **entered}
        if self._tracking is not None:
            self._flush()
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del kind, traceback
        self._outbox.status, self._outbox.end = _status(error), _now()
        if self._outbox.status == "FINISHED":
            for point in self._left_out.values():
                self._add_point(point)
            self._look_at_machine(now=True)
            closing = {"duration_seconds": self._seconds(), **memory_metrics()}
            if (mean := self._speed.mean()) is not None:
                closing[f"mean_{self._counts}_per_second"] = mean
            self._add(closing, 0)
        else:
            self._put("tags", tags={"error": f"{type(error).__name__}: {one_line(error)}"})
        if not self._flush():
            self._keep()

    def state_dict(self) -> dict[str, Any]:
        """Return what a later process needs for the run to go on, JSON values."""
        return {
            "uri": self._outbox.uri,
            "run_id": self.run_id,
            "seconds": self._seconds(),
            "thinner": self._thinner.following,
            "speed": self._speed.total,
            "points": self._outbox.points,
        }

    def log(self, record: Record) -> None:
        """Note a record of the training loop; those of every update are thinned, evaluations are kept."""
        if record.name == "loss":
            self._speed.update(record.seen)
        if record.name in PER_UPDATE:
            point = (record.name, record.value, _now(), record.step)
            if self._thinner.keep(record.name, record.step):
                self._left_out.pop(record.name, None)
                self._add_point(point)
                if record.name == "loss" and (speed := self._speed.since_last()) is not None:
                    self._add({f"{self._counts}_per_second": speed}, record.step)
            else:
                self._left_out[record.name] = point
        else:
            self._add({record.name: record.value}, record.step)
        self._flush_in_time()
        # After an epoch the caller may write a sample, which is no part of an update.
        self._speed.pause(forget=record.name == "epoch")

    def metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures, at a step or once and for all."""
        self._add(metrics, step or 0)
        self._flush_in_time()

    def text(self, text: str, artifact_file: str) -> None:
        """Log a text as a file of the run; a later text under the same name replaces it."""
        self._put("text", text=text, file=artifact_file)

    def table(self, rows: Sequence[Mapping[str, Any]], artifact_file: str) -> None:
        """Log rows as a table (`*.json`) of the run; later ones under the same name are added, none a second time."""
        known = self._rows.setdefault(artifact_file, set())
        new = [dict(row) for row in rows if row_key(row) not in known]
        known.update(row_key(row) for row in new)
        if new:
            self._put("table", rows=new, file=artifact_file)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file as it is now."""
        self._put("artifact", path=str(Path(path).resolve()), folder=folder)
        if not self._failed:
            self._flush()

    def dataset(self, name: str, path: Path | str, sha256: str, context: str) -> None:
        """Note a data set that the stage read, by its hash; `context` is its use, such as `training`."""
        self._put("dataset", name=name, path=str(path), sha256=sha256, context=context)

    def tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags of the run."""
        self._put("tags", tags={legal(key): as_param(value) for key, value in tags.items()})

    def _add(self, metrics: Mapping[str, float], step: int) -> None:
        now = _now()
        for name, value in metrics.items():
            self._add_point((legal(name), float(value), now, step))

    def _add_point(self, point: Point) -> None:
        if self._is_new(point):
            self._outbox.points.append(point)

    def _is_new(self, point: Point) -> bool:
        name, _, _, step = point
        return step > self._sent.steps.get(name, -1)

    def _unsent(self, message: Message) -> Message | None:
        """Return a message without the rows that the store has: MLflow would add them to those."""
        if message["kind"] != "table":
            return message
        there = self._sent.rows.get(message["file"], ())
        rows = [row for row in message["rows"] if row_key(row) not in there]
        return message | {"rows": rows} if rows else None

    def _look_at_machine(self, *, now: bool = False) -> None:
        # The step is the second, so that it goes on where an earlier process ended.
        seconds = self._seconds()
        if int(seconds) > self._looked and (figures := self._machine.figures(seconds, now=now)):
            self._looked = int(seconds)
            self._add(figures, self._looked)

    def _seconds(self) -> float:
        return self._spent + time.monotonic() - self._began

    def _put(self, kind: str, **content: Any) -> None:
        if message := self._unsent({"kind": kind, **content}):
            self._outbox.messages.append(message)
        self._flush_in_time()

    def _flush_in_time(self) -> None:
        self._look_at_machine()
        waited = time.monotonic() - self._flushed
        full = len(self._outbox.points) >= POINTS_BUFFERED
        if waited >= RETRY_SECONDS or (not self._failed and (full or waited >= FLUSH_SECONDS)):
            self._flush()

    def _flush(self) -> bool:
        """Send what is buffered; say whether that worked."""
        try:
            if self._failed and is_server(tracking_uri(self._root)):
                check_server(tracking_uri(self._root))  # a dead server costs the client far longer
            if self._tracking is None:
                self._tracking = connect(self._root)
            # Between the sending of something and its being forgotten, it would be sent again.
            with uninterrupted():
                if not self._opened:
                    self._open(self._tracking)
                self._outbox.deliver(self._tracking)
        except Exception as error:
            self._note_failure(error)
            return False
        else:
            if self._failed:
                log.info("MLflow: %s answers again", self._outbox.uri)
            self._failed = False
            return True
        finally:
            self._flushed = time.monotonic()

    def _note_failure(self, error: Exception) -> None:
        if not self._failed:
            log.warning(
                "MLflow: %s cannot be written to (%s); the stage goes on and what it logs is kept",
                self._outbox.uri,
                one_line(error),
            )
        self._failed = True

    def _keep(self) -> None:
        path = pending_folder(self._root) / f"{self._outbox.run_id or uuid.uuid4().hex}.jsonl"
        try:
            self._outbox.save(path)
        except Exception as error:
            log.warning("MLflow: what the stage logged is lost, %s cannot be written: %s", path, one_line(error))
        else:
            log.warning("MLflow: what could not be logged is kept in %s; the next stage's start logs it", path)

    def _open(self, tracking: Tracking) -> None:
        """Go on with the run of an earlier process, or create one; clear up what earlier ones left."""
        self._mend(lambda: replay(tracking, self._root))
        if self._outbox.run_id is not None:
            sent = reopen(tracking, self._outbox.run_id, self._outbox.tags)
            if sent is None:
                self._outbox.run_id = None
            else:
                self._sent = sent
                self._outbox.points = [point for point in self._outbox.points if self._is_new(point)]
                unsent = (self._unsent(message) for message in self._outbox.messages)
                self._outbox.messages = [message for message in unsent if message]
        params = {legal(key): as_param(value) for key, value in flatten(self._params, ".").items()}
        self._outbox.messages.insert(0, {"kind": "params", "params": params})
        self._opened = True
        self._outbox.deliver(tracking)
        if not is_server(tracking.uri):
            self._mend(lambda: end_abandoned(tracking))

    def _mend(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            log.warning("MLflow: could not mend what earlier stages left: %s", one_line(error))


class Untracked(Tracker):
    """A run that notes nothing, for the ranks of a training that leave the tracking to rank 0."""

    def __enter__(self) -> Untracked:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def _status(error: BaseException | None) -> str:
    """Return MLflow's word for how the stage ended; an exit with 128 + n is what a handler of signal n makes."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "FINISHED"
    by_signal = isinstance(error, SystemExit) and isinstance(error.code, int) and error.code >= 128
    return "KILLED" if by_signal or isinstance(error, KeyboardInterrupt) else "FAILED"


def _now() -> int:
    return int(time.time() * 1000)
