"""Running a study's variants as DVC experiments: one after the other, or several at a time from DVC's queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.experiments.dvc_queue import run_queue
from gpt_from_scratch.experiments.recorded import Recorded, recorded, untracked_code
from gpt_from_scratch.experiments.settings import (
    Planned,
    changes_of,
    experiment_name,
    missing,
    override,
    plan,
    raw_params,
)
from gpt_from_scratch.experiments.study import PipelineStudy, Settings, Variant
from gpt_from_scratch.pipeline.dvc import check_experiments, complaint, run_dvc
from gpt_from_scratch.pipeline.git import head

Say = Callable[[str], object]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a variant.

    Attributes:
        state: done: it ran; present: the same settings and code had run before; skipped: a requirement is not met.
        seconds: duration of the run, where it ran by itself.
        reason: why it was skipped or failed.
    """

    name: str
    state: Literal["done", "present", "skipped", "failed"]
    seconds: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        time_taken = "" if self.seconds is None else f" in {self.seconds:.0f} s"
        return f"{self.name}: {self.state}{time_taken}{': ' if self.reason else ''}{self.reason}"


def run_study(
    root: Path,
    name: str,
    study: PipelineStudy,
    *,
    reduced: bool,
    only: Sequence[str] = (),
    changes: Settings | None = None,
    jobs: int = 0,
    say: Say = print,
) -> list[Outcome]:
    """Run a study's variants, each as the experiment `<study>-<variant>`; one that fails does not stop the others.

    Args:
        root: the project's folder.
        only: names of variants; all if none is named.
        changes: values that are set over every variant.
        jobs: variants at a time, from DVC's queue; 0: one after the other, without it.
        say: takes a line about each step.

    Raises:
        InputError: for unknown variants, or where no experiment can run at all.
        KeyboardInterrupt: after Ctrl-C, when the variant that ran has ended; the same command resumes.
    """
    check_experiments(root)
    for file in untracked_code(root):
        say(f"warning: {file} is unknown to git, so that no experiment sees it: git add {file}")
    chosen = chosen_variants(name, study, reduced, only)
    base, outcomes, waiting = raw_params(root / "params.yaml"), [], []
    present = recorded(root)
    for variant in chosen:
        settings = {**changes_of(study, variant, reduced), **(changes or {})}
        outcome = None
        try:
            planned = plan(base, name, variant, settings, reduced)
        except InputError as error:
            own = experiment_name(name, variant.name, reduced)
            outcome = Outcome(own, "failed", reason=str(error).removeprefix(f"{own}: "))
        else:
            if is_present(planned, present):
                outcome = Outcome(planned.name, "present", reason="the same settings and code have run before")
            elif lacking := missing(root, planned, full=not reduced):
                outcome = Outcome(planned.name, "skipped", reason=lacking)
            else:
                waiting.append(planned)
        if outcome:
            outcomes.append(outcome)
            say(str(outcome))
    for planned in waiting:
        forget(root, planned.name, present)
    outcomes += run_queue_of(root, study, waiting, jobs, say) if jobs else one_by_one(root, study, waiting, say)
    return outcomes


def chosen_variants(name: str, study: PipelineStudy, reduced: bool, only: Sequence[str]) -> list[Variant]:
    """Return the variants with the given names, all if there are none.

    Raises:
        InputError: naming those that are unknown, and the known ones.
    """
    rows = study.rows(reduced)
    if unknown := sorted(set(only) - {variant.name for variant in rows}):
        known = ", ".join(variant.name for variant in rows[:30])
        raise InputError(f"{name}: expected variants among {known}, found {shown(unknown[0])}")
    return [variant for variant in rows if not only or variant.name in only]


def is_present(planned: Planned, present: dict[str, list[Recorded]]) -> bool:
    """Return whether an experiment of this name has the same parameters and code."""
    return any(one.params() == planned.params and one.has_present_code() for one in present.get(planned.name, []))


def forget(root: Path, name: str, present: dict[str, list[Recorded]]) -> None:
    """Remove an experiment that stands in the way of a new one of its name; those from other commits stay."""
    baseline = head(root)
    for one in present.get(name, []):
        if one.baseline == baseline:
            one.remove()


def log_file(root: Path, name: str) -> Path:
    """Return the file for the output of an experiment's `dvc`."""
    return root / ".cache" / "experiments" / f"{name}.log"


def arguments(study: PipelineStudy, planned: Planned, way: str) -> list[str]:
    """Return the `dvc exp run` of a variant."""
    overrides = [part for key, value in planned.changes.items() for part in ("-S", override(key, value))]
    return ["exp", "run", way, "--name", planned.name, *overrides, *study.targets]


def one_by_one(root: Path, study: PipelineStudy, waiting: Sequence[Planned], say: Say) -> Iterator[Outcome]:
    """Run variants in turn."""
    for number, planned in enumerate(waiting, start=1):
        log = log_file(root, planned.name)
        say(f"[{number}/{len(waiting)}] {planned.name}: {planned.variant.title} (log: {log.relative_to(root)})")
        outcome = run_one(root, study, planned, log)
        say(f"[{number}/{len(waiting)}] {outcome}")
        yield outcome


def run_one(root: Path, study: PipelineStudy, planned: Planned, log: Path) -> Outcome:
    """Run one variant in a copy of the project, which sees what git or DVC knows."""
    began = time.monotonic()
    code = run_dvc(root, arguments(study, planned, "--temp"), log)
    seconds = time.monotonic() - began
    if code:
        return Outcome(planned.name, "failed", seconds, complaint(log))
    return Outcome(planned.name, "done", seconds)


def run_queue_of(root: Path, study: PipelineStudy, waiting: Sequence[Planned], jobs: int, say: Say) -> list[Outcome]:
    """Put variants into DVC's queue and work through it, `jobs` at a time."""
    outcomes, queued = [], []
    for planned in waiting:
        log = log_file(root, planned.name)
        if run_dvc(root, arguments(study, planned, "--queue"), log):
            outcomes.append(Outcome(planned.name, "failed", reason=complaint(log)))
            say(str(outcomes[-1]))
        else:
            queued.append(planned.name)
            say(f"{planned.name}: queued ({planned.variant.title})")
    states = run_queue(root, queued, jobs, lambda name: log_file(root, name), say)
    return outcomes + [Outcome(name, "failed" if why else "done", reason=why) for name, why in states.items()]
