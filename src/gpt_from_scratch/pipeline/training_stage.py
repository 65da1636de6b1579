"""What the three training stages share: going on after an interruption, and what is written beside the model."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import write_csv, write_json
from gpt_from_scratch.params.sections import Runtime
from gpt_from_scratch.pipeline.fingerprint import environment_tags, fingerprint
from gpt_from_scratch.pipeline.interrupted import alone, checkpoint_folder
from gpt_from_scratch.pipeline.launcher import Place, started
from gpt_from_scratch.pipeline.stage import Declared, Stage, read_declared, stage_process
from gpt_from_scratch.tracking.facts import state_of
from gpt_from_scratch.tracking.run import Untracked, track_stage
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.fit import Fit
from gpt_from_scratch.training.process_group import ALONE, Group, joined
from gpt_from_scratch.training.resuming import Saver

log = logging.getLogger(__name__)

SAMPLES = "samples.json"

LIBRARIES = ("numpy", "safetensors", "tiktoken", "torch")


@dataclass(frozen=True)
class TrainingStage(Stage):
    """A stage with a training.

    Attributes:
        saver: saves the training, and knows where an earlier process ended.
        group: the processes that do the training together. After it only the first one has something to do.
    """

    saver: Saver
    group: Group = ALONE

    def keep_sample(self, row: dict[str, Any]) -> None:
        """Put what the model wrote after an epoch into MLflow's table, while the training goes on."""
        self.run.table([row], SAMPLES)


def run_training(name: str, root: Path, body: Callable[[TrainingStage], None], counts: str = "tokens") -> None:
    """Run a stage with a training: `run_stage`, and it goes on where an earlier process of the same work was ended.

    Args:
        counts: what the training's records count.
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
            earlier = saver.found.state["carried"] if saver.found else None
            run: Any = Untracked()
            if group.first:
                run = track_stage(
                    root,
                    name,
                    declared.keys,
                    params.profile,
                    state=state,
                    counts=counts,
                    checkpoints=folder,
                    earlier=earlier,
                )
                saver.carried = run.state_dict
            with run, _saved_on_request(saver):
                body(TrainingStage(name, root, params, run, saver, group))
            if group.first:
                checkpoints.remove()


def work_key(declared: Declared) -> str:
    """Return a hash of what determines a training's result: parameters, inputs, code and libraries.

    The runtime settings are left out: a training may go on under others, though not to the same bits.
    """
    params = {section: values for section, values in declared.keys.items() if section != "runtime"}
    libraries = {name: version(name) for name in LIBRARIES}
    content = json.dumps([state_of(params, declared.deps), libraries], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def write_training(stage: Stage, fit: Fit, facts: dict[str, Any], *, scores_curve: bool = True) -> None:
    """Write a training's metrics, curves and samples, and hand the same to MLflow.

    Args:
        facts: what else belongs to the metrics, such as `{"data": "sample", "pretrained": "synthetic"}`.
        scores_curve: write the scores of the epochs as a curve too, if the task has any.
    """
    metrics, curves = stage.metrics / f"{stage.name}.json", stage.metrics / "plots" / f"{stage.name}.csv"
    write_json(metrics, {**facts, **fit.metrics()})
    write_csv(curves, fit.journal.rows)
    if fit.journal.scores and scores_curve:
        write_csv(stage.metrics / "plots" / f"{stage.name}_accuracy.csv", fit.journal.scores)
    if fit.samples:
        write_json(stage.metrics / "samples" / f"{stage.name}.json", fit.samples)
        stage.run.table(fit.samples, SAMPLES)
        stage.run.text("\n\n".join(f"epoch {row['epoch']}: {row['text']}" for row in fit.samples), "samples.txt")
    stage.run.tags({key: facts[key] for key in ("data", "pretrained") if key in facts})
    stage.run.metrics({f"initial_{name}": value for name, value in fit.initial.items()})
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
        yield stack.enter_context(joined(place, runtime))


@contextmanager
def _saved_on_request(saver: Saver) -> Iterator[None]:
    """Save the training when the process is told to end."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        saver.save()
        log.info("told to end; run the same command again to go on")
        raise


def _compare(saver: Saver, circumstances: dict[str, Any]) -> None:
    """Warn when a training goes on under circumstances that may give other bits than those of its start."""
    if saver.found is None or saver.found.about == circumstances:
        return
    before = saver.found.about
    changes = [
        f"{name} {before.get(name)}, now {circumstances.get(name)}"
        for name in sorted(before.keys() | circumstances.keys())
        if before.get(name) != circumstances.get(name)
    ]
    log.warning("going on otherwise than at the start (%s): equal bits are no longer promised", "; ".join(changes))
