"""The subcommands of `gpt experiments`, for both kinds of studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figure_text
from gpt_from_scratch.experiments.measure import measure, result_file
from gpt_from_scratch.experiments.recorded import recorded
from gpt_from_scratch.experiments.runner import Outcome, run_study
from gpt_from_scratch.experiments.seeds import SEEDS, seed_rows, seeds_from, seeds_run, summary, with_seeds
from gpt_from_scratch.experiments.settings import experiment_name, read_change
from gpt_from_scratch.experiments.study import Measurement, PipelineStudy, pipeline_study, read_study, study_names
from gpt_from_scratch.experiments.table import Row, flat, rows, table
from gpt_from_scratch.experiments.timing import Timing
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import load_params

Say = Callable[[str], object]


def overview(root: Path) -> Iterator[str]:
    """Yield for each study its name, title and state, and its requirements for the published figures."""
    found = recorded(root)
    for name in study_names(root):
        try:
            study = read_study(root, name)
        except InputError as error:  # the other studies are listed all the same
            yield f"{name}: not valid: {error}"
            continue
        yield f"{name}: {study.title}"
        if isinstance(study, Measurement):
            state = "measured" if result_file(root, name).is_file() else "not measured yet"
            gpu = sum(form.gpu for form in study.forms)
            yield f"  {len(study.forms)} forms, {state}" + (f"; a GPU for {gpu} of them" if gpu else "")
            continue
        if study.seeds:
            yield f"  {len(seeds_run(found, name))} seeds have run"
            continue
        small, full = (_done(found, name, study, reduced) for reduced in (True, False))
        yield f"  reduced: {small}; full: {full}"
        if needs := _needs(study):
            yield f"  for the published figures: {needs}"


def run(
    root: Path,
    name: str,
    only: tuple[str, ...],
    reduced: bool | None,
    changes: Sequence[str],
    jobs: int,
    say: Say,
    seeds: int = 0,
) -> tuple[list[str], bool]:
    """Run a study; return the closing lines, and whether a variant failed.

    Args:
        seeds: number of seeds of a study over them; 0: its usual number.

    Raises:
        InputError: for an unknown name, or an option that this kind of study does not have.
    """
    study = read_study(root, name)
    if seeds and not (isinstance(study, PipelineStudy) and study.seeds):
        raise InputError(f"{name}: expected no --seeds for a study that varies something else; try the study seeds")
    if isinstance(study, Measurement):
        if jobs:
            raise InputError(f"{name}: expected no --queue for a measurement, which runs without DVC")
        sizes = dict(read_change(change) for change in changes)
        if wrong := [key for key, value in sizes.items() if not isinstance(value, int) or value < 1]:
            raise InputError(f"--set {wrong[0]}: expected a size, a whole number from 1 on, found {sizes[wrong[0]]}")
        measure(root, name, study, reduced=reduced is not False, only=only, changes=sizes, say=say)
        return show(root, name).splitlines(), False
    params, small = load_params(root / "params.yaml"), not study.seeds and reduced_setting(root, reduced)
    setting = f"{seeds or SEEDS} seeds" if study.seeds else f"the {'reduced' if small else 'full'} setting"
    if study.seeds:
        study = with_seeds(study, seeds_from(study, params, seeds or SEEDS))
    say(f"{name}: {setting} over params.yaml (profile {params.profile})")
    set_values = dict(read_change(change) for change in changes)
    if own := [key for key in study.seeds if key in set_values]:
        raise InputError(f"--set {own[0]}: expected no seed, which {name} varies; set the first one in params.yaml")
    outcomes = run_study(root, name, study, reduced=small, only=only, changes=set_values, jobs=jobs, say=say)
    show(root, name)  # logs the table
    return _report(name, outcomes), any(outcome.state == "failed" for outcome in outcomes)


def show(root: Path, name: str) -> str:
    """Return a study's table under its title, and log it into MLflow unless it is there.

    Raises:
        InputError: for a measurement that was never made.
    """
    from gpt_from_scratch.tracking.studies import log_study, stage_seconds

    study, spread = read_study(root, name), []
    if isinstance(study, Measurement):
        lines, made = _measured(root, name, study)
    elif study.seeds:
        lines, made = [study.title, study.about], seed_rows(root, name, study)
        spread = summary(study, made)
        made += spread
    else:
        made = rows(root, name, study)
        wanted = {row.experiment: row.params for row in made if row.params is not None}
        times = stage_seconds(root, study.stage, wanted) if wanted and "minutes" in study.columns else {}
        for row in made:
            if row.experiment in times:
                row.ours["minutes"] = times[row.experiment] / 60
        lines = [study.title, f"Published: {study.source}."]
    text = "\n".join([*lines, "", table(study.table_columns, made)])
    if any(row.ours for row in made):
        headline = study.headline if isinstance(study, PipelineStudy) else next(iter(study.columns))
        figures = {row.variant.name: row.ours[headline] for row in made if headline in row.ours}
        figures = {f"{key}/{row.variant.name}": value for row in spread for key, value in row.ours.items()} or figures
        log_study(root, name, text, flat(made), figures, load_params(root / "params.yaml").profile)
    return text


def search(root: Path, name: str, trials: int, reduced: bool | None, say: Say) -> list[str]:
    """Run or resume a search; return the closing lines.

    Raises:
        InputError: for a study without a space.
    """
    from gpt_from_scratch.experiments import search as searching

    study = pipeline_study(root, name)
    found = searching.search(root, name, study, trials, reduced=reduced_setting(root, reduced), say=say)
    if found.value is None or found.params is None or study.space is None:
        return [f"{name}: no trial gave a figure; {found.failed} failed, see .cache/experiments"]
    column = study.columns[study.space.column]
    return [
        f"{name}: {found.trials} trials, {found.failed} failed",
        f"best {column.title}: {figure_text(found.value, decimals=column.decimals)} ({found.experiment})",
        *(f"  {key}: {value}" for key, value in found.params.items()),
        f"adopt them, results included: {found.command}",
        f"run them over the present parameters: {searching.adopted(found.params)}",
    ]


def reduced_setting(root: Path, wanted: bool | None) -> bool:
    """Return whether to take the reduced setting: as wanted, else where the weights are synthetic."""
    if wanted is not None:
        return wanted
    return load_params(root / "params.yaml").download_gpt2.source == "synthetic"


def _measured(root: Path, name: str, study: Measurement) -> tuple[list[str], list[Row]]:
    path = result_file(root, name)
    if not path.is_file():
        raise InputError(f"{name}: expected a measurement in {path}, found none: gpt experiments run {name}")
    content = read_json(path)
    about = ", ".join(f"{key} {value}" for key, value in {**content["machine"], **content["sizes"]}.items())
    made = []
    for form in study.forms:
        if form.name in content["forms"]:
            found = Timing(**content["forms"][form.name])
            made.append(Row(form, found.ours, found.marks))
    return [study.title, f"Published: {study.source}.", f"Here: {about}."], made


def _done(found: dict[str, object], name: str, study: PipelineStudy, reduced: bool) -> str:
    rows = study.rows(reduced)
    return f"{sum(experiment_name(name, row.name, reduced) in found for row in rows)} of {len(rows)} variants have run"


def _needs(study: PipelineStudy) -> str:
    rows = study.variants
    real, gpu = (sum(getattr(row.needs, what) for row in rows) for what in ("weights", "gpu"))
    sizes = sorted({row.needs.size for row in rows if row.needs.size}, key=lambda size: (len(size), size))
    parts = [f"OpenAI's weights for {real} variants ({', '.join(sizes)})"] if real else []
    parts += [f"a GPU for {gpu}"] if gpu else []
    return ", ".join([*parts, *(row.needs.file for row in rows if row.needs.file)])


def _report(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    counts = {state: sum(one.state == state for one in outcomes) for state in ("done", "present", "skipped", "failed")}
    lines = [f"{name}: " + ", ".join(f"{number} {state}" for state, number in counts.items() if number)]
    lines += [f"  {outcome}" for outcome in outcomes if outcome.state in ("skipped", "failed")]
    return [*lines, f"the table: gpt experiments table {name}"]
