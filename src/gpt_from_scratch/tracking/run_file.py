"""One append-only file per run, and how far MLflow has it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt_from_scratch.pipeline.project import project_home
from gpt_from_scratch.pipeline.signals import uninterrupted
from gpt_from_scratch.tracking.facts import legal

log = logging.getLogger(__name__)

LOCK_SECONDS = 20.0
FILES = ("text", "table", "artifact")
"""Kinds of entries whose content is a file; MLflow keeps files elsewhere than figures, so they are delivered apart."""

Entry = dict[str, Any]
Point = tuple[str, float, int, int]  # name, value, time in ms, step


def now() -> int:
    """Return the time as MLflow counts it, in milliseconds."""
    return int(time.time() * 1000)


def points(metrics: Mapping[str, float], step: int = 0) -> list[Point]:
    """Return figures of one step as they are sent to MLflow."""
    return [(legal(name), float(value), now(), step) for name, value in metrics.items()]


def runs_folder(root: Path) -> Path:
    """Return the folder of the files of runs that are not, or not completely, in MLflow."""
    return project_home(root) / ".mlflow-pending"


class RunFile:
    """Everything that one run logs, a JSON object a line, written at once: a killed process loses none of it.

    An entry of kind `delivered` means that MLflow has all figures, or all files, above it. Entries sent just before a
    process was killed are sent again; that doubles nothing, because MLflow keeps equal points and data sets once, and
    texts, tables and files are replaced.

    The process that writes the file holds a lock on it, which ends with the process: a file without a lock and without
    an `end` is that of a killed process. Where the file cannot be written, the run lives in memory only.

    Attributes:
        path: place of the file.
        header: `uri` (without a password), `name`, `start` (ms), `tags`, and `checkpoints`, the folder from which the
            run can be resumed, or None.
        run_id: MLflow's id; None until the run is created.
        status: MLflow's word for how the run ended; None while it is running.
        points, entries: not delivered yet; figures and everything else.
        tables: all rows of the tables by name, each under its key.
        logged: last step of each figure that an earlier process wrote.
        loaded: whether an earlier process began the file.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path, self.header = path, header
        self.run_id: str | None = None
        self.status: str | None = None
        self.points: list[Point] = []
        self.entries: list[Entry] = []
        self.tables: dict[str, dict[str, Entry]] = {}
        self.logged: dict[str, int] = {}
        self.loaded = False
        self._file: int | None = None
        self._unwritten = b""

    @classmethod
    def create(cls, root: Path, header: Mapping[str, Any]) -> RunFile:
        """Begin a file; where that fails, the run lives in memory."""
        run = cls(runs_folder(root) / f"{uuid.uuid4().hex}.jsonl", header)
        begun = run.path.with_suffix(".new")  # under its own name it is never seen without lock and header
        try:
            begun.parent.mkdir(parents=True, exist_ok=True)
            run._file = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            fcntl.flock(run._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(run._file, _line(header))
            begun.rename(run.path)
        except OSError as error:
            run.close()
            log.warning("MLflow: %s cannot be written: %s", run.path, error)
        return run

    @classmethod
    def load(cls, path: Path, patience: float = 0.0) -> RunFile | None:
        """Read an earlier process's file, to resume its run; None where it is locked or missing.

        Raises:
            ValueError: when it is damaged.
        """
        try:
            file = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        if not _locked(file, patience):
            os.close(file)
            return None
        run = cls(path, {})
        run._file, run.loaded = file, True
        try:
            run._read()
        except BaseException:
            run.close()
            raise
        return run

    @property
    def stored(self) -> bool:
        """True if everything is in the file, and not in memory only."""
        return self._file is not None and not self._unwritten

    @property
    def resumable(self) -> bool:
        """True if there are checkpoints from which the run may be resumed."""
        folder = self.header["checkpoints"]
        return folder is not None and (self.path.parent.parent / folder).is_dir()

    def append(self, kind: str, **content: Any) -> None:
        """Add an entry to the file and to what is to be delivered."""
        entry = {"kind": kind, **content}
        with uninterrupted():
            self._take(entry)
            if self._file is not None:
                self._write(self._file, _line(entry))

    def add_rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to a table, those that it does not hold yet."""
        known = self.tables.get(name, {})
        if new := [row for row in rows if _key(row) not in known]:
            self.append("table", file=name, rows=new)

    def begin_anew(self) -> None:
        """Forget MLflow's run, which was deleted, and make everything undelivered: it becomes a new run."""
        self.append("anew")
        if self._file is not None:
            self._read()

    def sync(self) -> None:
        """Wait until the file has reached the disk."""
        if self._file is not None:
            os.fsync(self._file)

    def close(self, *, remove: bool = False) -> None:
        """Release the file for other processes; with `remove`, delete it."""
        if self._file is not None:
            if remove:
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def _take(self, entry: Entry) -> None:
        match entry["kind"]:
            case "points":
                self.points += [tuple(point) for point in entry["points"]]
            case "created":
                self.run_id = entry["run_id"]
            case "anew":
                self.run_id = None
            case "delivered" if entry["what"] == "files":
                self.entries = [one for one in self.entries if one["kind"] not in FILES]
            case "delivered":
                self.points, self.entries = [], [one for one in self.entries if one["kind"] in FILES]
            case kind:
                self.entries.append(entry)
                if kind == "table":
                    self.tables.setdefault(entry["file"], {}).update({_key(row): row for row in entry["rows"]})
                elif kind in ("end", "resumed"):
                    self.status = entry.get("status")

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # the last line of a machine that lost power
            os.truncate(self._file, len(whole))  # type: ignore[arg-type]
        header, *entries = (json.loads(line) for line in whole.splitlines())
        self.header, self.points, self.entries, self.tables = header, [], [], {}
        anew = max((number for number, entry in enumerate(entries) if entry["kind"] == "anew"), default=0)
        for number, entry in enumerate(entries):
            if number >= anew or entry["kind"] not in ("created", "delivered"):
                self._take(entry)
            if entry["kind"] == "points":
                self.logged.update({name: step for name, _, _, step in entry["points"]})

    def _write(self, file: int, line: bytes) -> None:
        """Write whole lines or none; what a full disk refuses is written with the next line."""
        failed_before, self._unwritten = bool(self._unwritten), self._unwritten + line
        size = os.fstat(file).st_size
        try:
            if os.write(file, self._unwritten) < len(self._unwritten):
                raise OSError("no space left")
            self._unwritten = b""
        except OSError as error:
            os.ftruncate(file, size)
            if not failed_before:
                log.warning("MLflow: %s cannot be written: %s", self.path, error)


def left_files(root: Path) -> Iterator[RunFile]:
    """Yield the files of processes that are gone, each locked while it is used; damaged ones with a warning."""
    for path in sorted(runs_folder(root).glob("*.jsonl")):
        try:
            run = RunFile.load(path)
        except (OSError, ValueError) as error:
            log.warning("MLflow: could not deliver %s, which is kept: %s", path, error)
            continue
        if run is not None:
            try:
                yield run
            finally:
                run.close()


def undelivered(root: Path) -> int:
    """Return the number of runs of earlier processes that MLflow does not have completely."""
    return sum(bool(run.points or run.entries or run.status is None) for run in left_files(root))


def _locked(file: int, patience: float) -> bool:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.1)
        else:
            return True


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, default=str).encode() + b"\n"


def _key(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=str)
