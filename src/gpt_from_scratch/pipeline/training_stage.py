"""The frame of the three training stages: resuming after an interruption, and the files beside the model."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import write_csv, write_json
from gpt_from_scratch.params.sections import Runtime
from gpt_from_scratch.pipeline import signals
from gpt_from_scratch.pipeline.fingerprint import environment_tags, fingerprint
from gpt_from_scratch.pipeline.interrupted import alone, checkpoint_folder
from gpt_from_scratch.pipeline.launcher import started
from gpt_from_scratch.pipeline.progress import TrainingProgress
from gpt_from_scratch.pipeline.stage import Declared, Stage, read_declared, stage_process
from gpt_from_scratch.tracking.facts import state_of
from gpt_from_scratch.tracking.run import StageRun, Untracked, track_stage
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.journal import Journal, Samples
from gpt_from_scratch.training.process_group import ALONE, Group, joined
from gpt_from_scratch.training.ranks import Place
from gpt_from_scratch.training.resuming import Saver

log = logging.getLogger(__name__)

SAMPLES = "samples.json"

LIBRARIES = ("numpy", "safetensors", "tiktoken", "torch")


@dataclass(frozen=True)
class TrainingStage(Stage):
    """A stage with a training.

    Attributes:
        saver: saves the training and resumes it.
        group: the ranks that do the training together. After it only rank 0 has something to do.
        progress: shows the training's progress.
    """

    saver: Saver
    group: Group = ALONE
    progress: Callback = field(default_factory=Callback)

    def log_sample(self, row: dict[str, Any]) -> None:
        """Add a sample to MLflow's table, while the training goes on."""
        self.run.table([row], SAMPLES)


def run_training(name: str, root: Path, body: Callable[[TrainingStage], None], counts: str = "tokens") -> None:
    """Run a stage with a training: `run_stage`, resumed where an earlier process of the same work was ended.

    Args:
        counts: unit of the training: tokens or examples.
    """
    with stage_process(name, root):
        declared = read_declared(root, name)
        params, state = declared.params, state_of(declared.keys, declared.deps)
        folder = checkpoint_folder(root, name, work_key(declared))
        with _processes(root, name, folder, params.runtime) as group:
            settings = {**declared.keys["runtime"], "processes": group.size}
            circumstances = {**fingerprint(root), **{f"runtime.{key}": value for key, value in settings.items()}}
            checkpoints = Checkpoints(folder, circumstances)
            saver = Saver(checkpoints, params.runtime.checkpoint_seconds, group=group)
            if group.first:
                _compare(saver, circumstances)
            run: Any = Untracked()
            if group.first:
                earlier = saver.state_of(StageRun)
                run = track_stage(
                    root, name, declared.keys, params.profile, state=state, counts=counts, earlier=earlier
                )
            with run, _saved_on_request(saver):
                body(TrainingStage(name, root, params, run, saver, group, TrainingProgress(name, counts)))
            if group.first:
                checkpoints.remove()


def work_key(declared: Declared) -> str:
    """Return a hash of what determines a training's result: parameters, inputs, code and libraries.

    The runtime settings are left out: a training may be resumed under others, though not to the same bits.
    """
    params = {section: values for section, values in declared.keys.items() if section != "runtime"}
    libraries = {name: version(name) for name in LIBRARIES}
    content = json.dumps([state_of(params, declared.deps), libraries], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def write_training(
    stage: Stage, journal: Journal, samples: Samples | None, facts: dict[str, Any], *, scores_curve: bool = True
) -> None:
    """Write a training's metrics, curves and samples, and hand the same to MLflow.

    Args:
        facts: further metrics, such as `{"data": "sample", "pretrained": "synthetic"}`.
        scores_curve: write the scores of the epochs as a curve too, if the task has any.
    """
    metrics, curves = stage.metrics / f"{stage.name}.json", stage.metrics / "plots" / f"{stage.name}.csv"
    write_json(metrics, {**facts, **journal.metrics()})
    write_csv(curves, journal.rows)
    if journal.scores and scores_curve:
        write_csv(stage.metrics / "plots" / f"{stage.name}_accuracy.csv", journal.scores)
    if samples is not None:
        write_json(stage.metrics / "samples" / f"{stage.name}.json", samples.rows)
        stage.run.table(samples.rows, SAMPLES)
        stage.run.text("\n\n".join(f"epoch {row['epoch']}: {row['text']}" for row in samples.rows), "samples.txt")
    stage.run.tags({key: facts[key] for key in ("data", "pretrained") if key in facts})
    stage.run.metrics({f"initial_{name}": value for name, value in journal.initial.items()})
    stage.run.tags(environment_tags(stage.root))
    stage.run.artifact(metrics)
    stage.run.artifact(curves, "plots")


@contextmanager
def _processes(root: Path, name: str, folder: Path, runtime: Runtime) -> Iterator[Group]:
    """Give the group of this training's processes, which torchrun or the first of them starts; that one has the lock.

    Raises:
        InputError: when torchrun has started another number of them than is asked for.
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
