"""The frame of a training stage: a stage that resumes where an earlier process of the same work was interrupted."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params.sections import Runtime
from gpt_from_scratch.pipeline import signals
from gpt_from_scratch.pipeline.fingerprint import environment_facts, fingerprint
from gpt_from_scratch.pipeline.interrupted import alone, checkpoint_folder
from gpt_from_scratch.pipeline.launcher import started
from gpt_from_scratch.pipeline.progress import TrainingProgress
from gpt_from_scratch.pipeline.project import corpora_folder
from gpt_from_scratch.pipeline.stage import Declared, read_declared, stage_process
from gpt_from_scratch.pipeline.watchdog import end_with_parent
from gpt_from_scratch.tracking.run import StageRun, track_stage
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.process_group import Group, joined
from gpt_from_scratch.training.ranks import Place
from gpt_from_scratch.training.resuming import Saver
from gpt_from_scratch.training.tracker import Tracker
from gpt_from_scratch.training.workspace import Workspace

log = logging.getLogger(__name__)

LIBRARIES = ("numpy", "safetensors", "tiktoken", "torch")


def run_training(name: str, root: Path, recipe: Callable[[Workspace], None], unit: str = "tokens") -> None:
    """Run a stage with a recipe's training, like `run_stage`; resume it where an earlier process was interrupted.

    The records count tokens or examples, the `unit`.
    """
    with stage_process(name):
        declared = read_declared(root, name)
        params = declared.params
        folder = checkpoint_folder(root, name, work_key(declared))
        with _processes(root, name, folder, params.runtime) as group:
            settings = {**declared.keys["runtime"], "processes": group.size}
            circumstances = {**fingerprint(root), **{f"runtime.{key}": value for key, value in settings.items()}}
            checkpoints = Checkpoints(folder, circumstances)
            saver = Saver(checkpoints, params.runtime.checkpoint_seconds, group=group)
            if group.first:
                _compare(saver, circumstances)
            run: AbstractContextManager[Tracker] = nullcontext(Tracker())  # rank 0 tracks for all
            if group.first:
                about = {"state": declared.state(), "counts": unit, "checkpoints": folder}
                run = tracked = track_stage(root, name, declared.keys, params.profile, **about)
                tracked.load_state_dict(saver.state_of(StageRun) or {})
            progress, corpora = TrainingProgress(name, unit), corpora_folder(root)
            with run as tracker, _saved_on_request(saver):
                recipe(Workspace(root, params, tracker, corpora, end_with_parent, saver, group, progress))
                tracker.environment(environment_facts(root))
            if group.first:
                checkpoints.remove()


def work_key(declared: Declared) -> str:
    """Return a hash of what determines a training's result: parameters, inputs, code and libraries.

    The runtime settings are left out: a training may be resumed under others, though not to the same bits.
    """
    libraries = {name: version(name) for name in LIBRARIES}
    content = json.dumps([declared.state(without="runtime"), libraries], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@contextmanager
def _processes(root: Path, name: str, folder: Path, runtime: Runtime) -> Iterator[Group]:
    """Yield the group of this training's ranks, which torchrun or rank 0 starts; rank 0 holds the lock.

    Raises:
        InputError: when torchrun has started another number of ranks than is asked for.
    """
    place = Place.here()
    if place.size > 1 and runtime.processes not in (1, place.size):
        raise InputError(f"runtime.processes: expected 1, or torchrun's {place.size}, found {runtime.processes}")
    with ExitStack() as stack:
        if place.first:
            stack.enter_context(alone(folder))
        if place.size == 1:
            command = [sys.executable, str(root / "stages" / f"{name}.py")]
            place = stack.enter_context(started(command, runtime.processes))
        yield stack.enter_context(joined(place, runtime, signals))


@contextmanager
def _saved_on_request(saver: Saver) -> Iterator[None]:
    """Save the training when the process is requested to end."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        saver.save()
        log.info("interrupted; run the same command again to resume")
        raise


def _compare(saver: Saver, circumstances: dict[str, Any]) -> None:
    """Warn when a training is resumed with settings or in an environment that may give other bits."""
    if saver.found is None or saver.found.about == circumstances:
        return
    before = saver.found.about
    changes = [
        f"{name} {before.get(name)}, now {circumstances.get(name)}"
        for name in sorted(before.keys() | circumstances.keys())
        if before.get(name) != circumstances.get(name)
    ]
    log.warning("resuming otherwise than at the start (%s): equal bits are no longer promised", "; ".join(changes))
