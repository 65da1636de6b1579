"""The spread of a run's figures over seeds: a study whose variants differ in nothing but their seeds."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt_from_scratch.evaluation.figures import figure_text, label
from gpt_from_scratch.experiments.published import last_run
from gpt_from_scratch.experiments.recorded import recorded
from gpt_from_scratch.experiments.study import PipelineStudy, Variant, pipeline_study, study_names
from gpt_from_scratch.experiments.table import Row, rows
from gpt_from_scratch.files.nested import at, flatten
from gpt_from_scratch.params.sections import Params

NAME = "seeds"
SEEDS = 5
"""Seeds of a study, if no number is given."""
STATISTICS = {
    "mean": ("mean", statistics.mean),
    "deviation": ("standard deviation", statistics.stdev),
    "lowest": ("lowest", min),
    "highest": ("highest", max),
}


def with_seeds(study: PipelineStudy, seeds: Iterable[int]) -> PipelineStudy:
    """Return a study with a variant for each seed."""
    variants = [
        Variant(name=f"seed-{seed}", title=f"seed {seed}", params=dict.fromkeys(study.seeds, seed)) for seed in seeds
    ]
    return study.model_copy(update={"variants": variants})


def seeds_from(study: PipelineStudy, params: Params, number: int) -> range:
    """Return consecutive seeds from that of the parameters on: DVC's cache has the first one's run."""
    first = int(at(params.model_dump(), study.seeds[0]))
    return range(first, first + number)


def seeds_run(found: Mapping[str, object], name: str) -> list[int]:
    """Return the seeds of a study among the names of experiments."""
    return sorted(int(match[1]) for one in found if (match := re.fullmatch(rf"{name}-seed-(\d+)", one)))


def seed_rows(root: Path, name: str, study: PipelineStudy, params: Params | None = None) -> list[Row]:
    """Return a row for every seed that has run; marked where the code has changed since, or the settings are others.

    Args:
        params: the settings that are meant; those of the newest run, if there are none.
    """
    found = recorded(root)
    seeds = seeds_run(found, name)
    newest = max((found[f"{name}-seed-{seed}"][0] for seed in seeds), key=lambda one: one.made, default=None)
    meant = _apart(study, params or (newest and newest.params()))
    made = rows(root, name, with_seeds(study, seeds))
    for row in made:
        if not row.marks and _apart(study, row.params) != meant:
            row.marks.append("other settings")
    return made


def summary(study: PipelineStudy, made: Sequence[Row]) -> list[Row]:
    """Return mean, standard deviation (of a sample), lowest and highest value of every column over unmarked rows."""
    alike = [row.ours for row in made if not row.marks]
    if len(alike) < 2:
        return []
    columns = [column for column in study.table_columns if all(column in ours for ours in alike)]
    over = f" of {len(alike)} seeds"
    return [
        Row(Variant(name=key, title=title + over), {column: of([ours[column] for ours in alike]) for column in columns})
        for key, (title, of) in STATISTICS.items()
    ]


def spreads(root: Path) -> dict[str, str]:
    """Return the spread of the last run's figures, as "95.0 ± 0.8 %, 5 seeds", by the label of the figure.

    It is known where the last run itself is one of the seeds, by its parameters and all of the study's figures, and at
    least one more ran with the present code and the same parameters but for the seeds.
    """
    if NAME not in study_names(root) or len(seeds_run(recorded(root), NAME)) < 2:
        return {}
    study, run = pipeline_study(root, NAME), last_run(root)
    made = seed_rows(root, NAME, study, run.params)
    own = {name: value for name, column in study.table_columns.items() if (value := run.figure(column)[0]) is not None}
    alike = [row.ours for row in made if not row.marks]
    if own not in alike or not (found := summary(study, made)):
        return {}
    mean, deviation = found[0].ours, found[1].ours
    texts = {}
    for column, value in mean.items():
        name, scale = study.columns[column].key.replace(".", "/"), study.columns[column].scale
        middle, width = (figure_text(one / scale, name) for one in (value, deviation[column]))
        texts[label(name)] = f"{middle.removesuffix(' %')} ± {width}, {len(alike)} seeds"
    return texts


def _apart(study: PipelineStudy, params: Params | None) -> dict[str, Any] | None:
    """Return parameters without the seeds."""
    leaves = flatten(params.model_dump()) if params else {}
    return {key: value for key, value in leaves.items() if key not in study.seeds}
