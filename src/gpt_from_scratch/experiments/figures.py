"""A variant's figures, as its experiment's files tell them, and the rows of a study's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments.recorded import Recorded, recorded
from gpt_from_scratch.experiments.requirements import missing, not_comparable
from gpt_from_scratch.experiments.settings import Planned, changes_of, experiment_name, merged, plan, raw_params
from gpt_from_scratch.experiments.study import Column, Form, PipelineStudy, Variant
from gpt_from_scratch.params.sections import Params

BOOK = "profiles/book.yaml"
"""The parameters that the published figures are for."""


@dataclass
class Row:
    """A line of a study's table.

    Attributes:
        ours: our figures by column; what was not measured is missing.
        marks: why they cannot be held against the published ones.
        experiment: the experiment that they are from.
        params: its parameters.
    """

    variant: Variant | Form
    ours: dict[str, float] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    experiment: str = ""
    params: Params | None = None


def rows(root: Path, name: str, study: PipelineStudy) -> list[Row]:
    """Return a row for every variant: its most comparable experiment, the newest of these."""
    found = recorded(root)
    book = raw_params(root / BOOK)
    full = {variant.name: variant for variant in study.rows(reduced=False)}
    small = {variant.name: variant for variant in study.rows(reduced=True)}
    names = small if study.grid and not any(_known(found, name, variant) for variant in full) else full
    made = []
    for variant in names.values():
        candidates = [
            _row(root, study, variant, one, book, reduced)
            for reduced in (False, True)
            for one in found.get(experiment_name(name, variant.name, reduced), [])
        ]
        best = min(candidates, key=lambda row: len(row.marks), default=None)
        made.append(best or Row(variant, marks=[_why_not(root, name, study, variant)]))
    return made


def figure(metrics: Mapping[str, Any], column: Column) -> float | None:
    """Return what a column asks for; None where it is not there."""
    value: Any = metrics.get(column.file or "", {})
    for part in column.key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if isinstance(value, bool) or not isinstance(value, int | float) else value * column.scale


def metrics_of(one: Recorded, study: PipelineStudy) -> dict[str, Any]:
    """Return the metrics files of an experiment that a study looks at."""
    files = {study.stage, *(column.file for column in study.columns.values() if column.file)}
    return {file: one.metrics(file) for file in sorted(files)}


def ours(metrics: Mapping[str, Any], columns: Mapping[str, Column]) -> dict[str, float]:
    """Return the figures that there are, by column."""
    found = {name: figure(metrics, column) for name, column in columns.items() if column.file}
    return {name: value for name, value in found.items() if value is not None}


def _row(
    root: Path, study: PipelineStudy, variant: Variant, one: Recorded, book: Mapping[str, Any], reduced: bool
) -> Row:
    metrics, params = metrics_of(one, study), one.params()
    marks = []
    if params is None:
        marks.append("parameters of older code")
    elif variant.published:
        try:
            over_book = merged(book, changes_of(study, variant, reduced=False), one.name)
        except InputError as error:
            marks.append(str(error))
        else:
            published = Planned(one.name, variant, {}, over_book)
            marks += not_comparable(study, published, params, metrics, reduced)
    if not one.has_present_code():
        marks.append("the code has changed since")
    return Row(variant, ours(metrics, study.columns), marks, one.name, params)


def _why_not(root: Path, name: str, study: PipelineStudy, variant: Variant) -> str:
    """Return why there is no experiment of a variant."""
    try:
        planned = plan(raw_params(root / "params.yaml"), name, variant, changes_of(study, variant, True), True)
    except InputError as error:
        return str(error)
    lacking = missing(root, planned, full=False)
    return f"not run: {lacking}" if lacking else "not run yet"


def _known(found: Mapping[str, Sequence[Recorded]], study: str, variant: str) -> bool:
    return experiment_name(study, variant, reduced=False) in found
