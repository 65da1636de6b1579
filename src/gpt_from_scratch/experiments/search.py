"""Hyper-parameter search: Optuna proposes, a DVC experiment is run for each trial, and all trials are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figure_text
from gpt_from_scratch.experiments.recorded import recorded
from gpt_from_scratch.experiments.runner import forget, is_present, log_file, run_one
from gpt_from_scratch.experiments.settings import Planned, changes_of, override, plan, raw_params
from gpt_from_scratch.experiments.study import Axis, PipelineStudy, Settings, Space, Variant
from gpt_from_scratch.experiments.table import run_of
from gpt_from_scratch.pipeline.dvc import check_experiments
from gpt_from_scratch.pipeline.git import git_output

STORE = Path(".cache/optuna.db")


@dataclass(frozen=True)
class Found:
    """The result of a search so far.

    Attributes:
        trials: number of trials with a figure.
        failed: number of trials without one.
        value: the best figure, with its parameters and its experiment; None without any.
    """

    trials: int
    failed: int
    value: float | None = None
    params: Mapping[str, Any] | None = None
    experiment: str = ""

    @property
    def command(self) -> str:
        """The command that puts the best parameters into params.yaml."""
        return f"dvc exp apply {self.experiment}"


def search(
    root: Path, name: str, study: PipelineStudy, trials: int, *, reduced: bool, say: Callable[[str], object] = print
) -> Found:
    """Run or resume a study's search until it has so many trials, and return the best.

    Trials are of one search as long as space, other parameters and code stay the same. Each draws from a seed of its
    own, so that an interrupted search gives the same trials when it is resumed.

    Raises:
        InputError: for a study without a space, or where no experiment can run.
        KeyboardInterrupt: after Ctrl-C; the trial that ran is made again by the next call.
    """
    if study.space is None:
        raise InputError(f"{name}: expected a study with a space to search, found none")
    check_experiments(root)
    base = raw_params(root / "params.yaml")
    common = changes_of(study, Variant(name="trial", title=""), reduced)
    key = search_key(root, study.space, base, common)
    found = open_search(root, f"{name}-{key}")
    say(f"{name}: search {key}, {len(_finished(found))} of {trials} trials are there")
    while (number := len(_finished(found))) < trials:
        # A fresh sampler for each: the state of one is lost when its process is interrupted.
        found.sampler = optuna.samplers.TPESampler(seed=study.space.seed + number)
        trial = found.ask()
        proposed = {key: _suggest(trial, key, axis) for key, axis in study.space.axes.items()}
        changes: Settings = {**common, **proposed}
        title = ", ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in trial.params.items()
        )
        planned = plan(base, name, Variant(name=f"trial-{key}-{number}", title=title), changes, reduced)
        present = recorded(root)
        trial.set_user_attr("experiment", planned.name)
        try:
            if not is_present(planned, present):
                forget(root, planned.name, present)
                say(f"[{number + 1}/{trials}] {planned.name}: {title}")
                outcome = run_one(root, study, planned, log_file(root, planned.name))
                if outcome.state == "failed":
                    say(f"[{number + 1}/{trials}] {outcome}")
            value = _value(root, study, study.space, planned)
        except BaseException:
            found.tell(trial, state=TrialState.FAIL)
            raise
        trial.set_user_attr("answered", True)
        if value is None:
            found.tell(trial, state=TrialState.FAIL)
        else:
            found.tell(trial, value)
            column = study.columns[study.space.column]
            text = figure_text(value, decimals=column.decimals)
            say(f"[{number + 1}/{trials}] {planned.name}: {column.title} {text}")
    return best(found)


def best(found: optuna.Study) -> Found:
    """Return the result of a search so far."""
    told = _finished(found)
    good = [trial for trial in told if trial.value is not None]
    if not good:
        return Found(0, len(told))
    winner = min(good, key=lambda trial: trial.value)
    return Found(len(good), len(told) - len(good), winner.value, winner.params, winner.user_attrs["experiment"])


def open_search(root: Path, name: str) -> optuna.Study:
    """Open a search, or begin it; trials that a killed process left are given up."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    (root / STORE).parent.mkdir(parents=True, exist_ok=True)
    found = optuna.create_study(storage=f"sqlite:///{root / STORE}", study_name=name, load_if_exists=True)
    for trial in found.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        found.tell(trial.number, state=TrialState.FAIL)
    return found


def search_key(root: Path, space: Space, base: Mapping[str, Any], common: Settings) -> str:
    """Return a short hash of everything but its own parameters that a trial's figure depends on."""
    fixed = {key: value for key, value in base.items() if key not in ("runtime", "profile")}
    code = git_output(root, "rev-parse", "HEAD:src", "HEAD:stages", "HEAD:dvc.yaml") or ""
    content = [space.model_dump(mode="json"), fixed, common, code]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:8]


def adopted(params: Mapping[str, Any]) -> str:
    """Return a command that runs the pipeline with parameters, and leaves them in params.yaml."""
    return "dvc exp run " + " ".join(f"-S {override(key, value)}" for key, value in params.items())


def _suggest(trial: Trial, key: str, axis: Axis) -> Any:
    if axis.values is not None:
        return trial.suggest_categorical(key, axis.values)
    if axis.whole:
        return trial.suggest_int(key, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_float(key, axis.low, axis.high, log=axis.log)


def _value(root: Path, study: PipelineStudy, space: Space, planned: Planned) -> float | None:
    ones = recorded(root).get(planned.name)
    return run_of(ones[0], study, planned.params).figure(study.columns[space.column])[0] if ones else None


def _finished(found: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count: those that were interrupted are made again."""
    trials = found.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.FAIL])
    return [trial for trial in trials if trial.user_attrs.get("answered")]
