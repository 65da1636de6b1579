"""Interrupted trainings: the folders of their checkpoints, the lock on each, and their removal."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.project import project_home

log = logging.getLogger(__name__)

FOLDER = ".checkpoints"
LOCK_SECONDS = 60.0


def checkpoint_folder(root: Path, stage: str, key: str) -> Path:
    """Return the folder of a training's checkpoints; no output of any stage, so DVC leaves it alone."""
    return project_home(root) / FOLDER / stage / key


@contextmanager
def alone(folder: Path, patience: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock on the training whose checkpoints lie in `folder`; it ends with the process at the latest.

    Raises:
        InputError: when another process still holds it after `patience` seconds.
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("another process runs the same training: waiting up to %.0f s for its end", patience)
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise InputError(
                f"{lock.lock_file}: expected no other process, found one that runs the same training; wait for its end"
            ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # a waiting process checks that it is still there
        lock.release()


@dataclass(frozen=True)
class Interrupted:
    """An interrupted training.

    Attributes:
        folder: of its checkpoints, `.checkpoints/<stage>/<key>`.
        step: the newest checkpoint's update, from 0.
        size: bytes of all its checkpoints.
        saved: when the newest was written, seconds since 1970.
    """

    folder: Path
    step: int
    size: int
    saved: float

    @property
    def name(self) -> str:
        """Stage and key, as they are shown and named."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    def __str__(self) -> str:
        hours = (time.time() - self.saved) / 3600
        return f"{self.name}  after step {self.step}  {self.size / 1e6:.0f} MB  saved {hours:.1f} h ago"


def trainings(root: Path) -> list[Interrupted]:
    """Return the trainings with checkpoints, in the order of their names."""
    found = []
    for folder in sorted((project_home(root) / FOLDER).glob("*/*/")):
        newest = max(folder.glob("step-*"), default=None)
        if newest is not None:
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            found.append(Interrupted(folder, int(newest.name.removeprefix("step-")), size, newest.stat().st_mtime))
    return found


def remove(root: Path, name: str) -> list[Interrupted]:
    """Delete the checkpoints of the trainings that `name` means (`all`, a stage, or stage and key) and return these.

    Raises:
        InputError: when there is no such training, or one of them is running.
    """
    chosen = [one for one in trainings(root) if name in ("all", one.folder.parent.name, one.name)]
    if not chosen and name != "all":
        known = ", ".join(one.name for one in trainings(root)) or "none"
        raise InputError(f"{name}: expected all, a stage, or one of the interrupted trainings, which are: {known}")
    for one in chosen:
        with alone(one.folder, patience=0):
            shutil.rmtree(one.folder)
    return chosen
