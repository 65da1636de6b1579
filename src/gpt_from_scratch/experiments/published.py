"""The published figures beside the project's own results, and the one decision whether two can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.measured import current_evaluation
from gpt_from_scratch.experiments.settings import changes_of, merged, raw_params
from gpt_from_scratch.experiments.study import Column, PipelineStudy, Variant, read_study, study_names
from gpt_from_scratch.files.curves import Curve, read_curve
from gpt_from_scratch.files.nested import at
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.pipeline.dvc import locked_params
from gpt_from_scratch.tracking.facts import flatten

BOOK = "profiles/book.yaml"
"""The parameters that the published figures are for, each variant's own over them."""
REAL = ("openai", "huggingface")
_NAMED = 3
TRAININGS = {"pretrain": "pretraining", "finetune_classify": "classification", "finetune_instruct": "instructions"}
"""Names of the trainings in the tables, by stage."""
ALL = {**TRAININGS, "evaluate": "zero-shot benchmarks"}
_SECTIONS = ("pretrain", "classify", "instruct", "split_spam", "evaluate")

Candidate = tuple[PipelineStudy, Variant]


@dataclass(frozen=True)
class Run:
    """A finished run of the pipeline.

    Attributes:
        params: the parameters that it was made with.
        metrics: content of the metrics files, by name without ending.
        curves: losses of the trainings, by stage.
    """

    params: Params
    metrics: Mapping[str, Any]
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def figure(self, column: Column) -> tuple[float | None, str]:
        """Return a column's figure, None where it was not measured, and why it is another one than published."""
        key, note = column.key, ""
        if column.judge and (judges := self.params.evaluate.judges):
            judge = next((one for one in judges if re.search(column.judge, one.model.lower())), judges[0])
            key = key.format(judge=judge.name)
            note = "" if re.search(column.judge, judge.model.lower()) else f"other judge: {judge.model}"
        value = at(self.metrics.get(column.file or ""), key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None, ""
        return value * column.scale, note


@dataclass(frozen=True)
class Comparison:
    """A run beside a variant's published figures.

    Attributes:
        reasons: why the two cannot be compared; empty where they can.
        other: keys in which the run's parameters are others than published.
    """

    reasons: list[str]
    other: list[str]


def compare(
    study: PipelineStudy, variant: Variant, run: Run, book: Mapping[str, Any], *, reduced: bool = False
) -> Comparison:
    """Decide whether a run can be compared with a variant's published figures.

    Args:
        book: content of the profile book.
        reduced: the run was made in the study's reduced setting.
    """
    try:
        expected = merged(book, changes_of(study, variant, reduced=False), variant.name)
    except InputError as error:
        return Comparison([str(error)], [])
    reasons = ["reduced setting"] if reduced else []
    facts = run.metrics.get(study.stage) or at(run.metrics.get("evaluation"), "benchmarks") or {}
    if (data := facts.get("data")) not in (None, "upstream"):
        reasons.append(f"other data: {data}")
    if variant.needs.weights and (weights := facts.get("pretrained")) not in (None, *REAL):
        reasons.append(f"{weights} weights")
    other = dict(_differences(study, variant, expected, run.params))
    size, base = variant.needs.size, facts.get("base")
    other_base = size is not None and base not in (None, size)
    if other_base:
        reasons.append(f"size: {base} in the place of {size}")
    named = [f"{key} {value}" for key, value in other.items() if not (other_base and key.endswith(".base"))]
    if len(named) > _NAMED and run.params.profile != expected.profile:
        reasons.append(f"settings of the profile {run.params.profile}")
    elif named:
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        reasons.append(f"other settings: {', '.join(named[:_NAMED])}{more}")
    if variant.deviation:
        reasons.append(variant.deviation)
    return Comparison(reasons, list(other))


def _differences(study: PipelineStudy, variant: Variant, expected: Params, found: Params) -> Iterator[tuple[str, Any]]:
    """Yield the keys whose values are others than expected, with the values found."""
    own = changes_of(study, variant, reduced=False)
    ours = flatten(found.model_dump(), ".")
    for key, value in flatten(expected.model_dump(), ".").items():
        if key.split(".")[0] not in study.compared or (key not in own and _covers(study.indifferent, key)):
            continue
        alike = study.same.get(key, [])
        if ours.get(key) != value and not (value in alike and ours.get(key) in alike):
            yield key, ours.get(key)


def _covers(keys: list[str], key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in keys)


def published_rows(root: Path) -> list[dict[str, Any]]:
    """Return one row per published figure, beside ours from the last run of the pipeline in `root`.

    Returns:
        Rows of `training`, `figure`, `source`, `published`, `ours`, `difference`, `decimals`, `step` (None but for
        the points of a curve) and `note`, which says why the two cannot be compared and is empty where they can.
        Nothing where the project has no studies.

    Raises:
        InputError: when params.yaml, a study or a metrics file is not valid.
    """
    names = study_names(root)
    if not names or not (root / BOOK).is_file():
        return []
    studies = [study for name in names if isinstance(study := read_study(root, name), PipelineStudy)]
    return compared_rows(studies, last_run(root), raw_params(root / BOOK))


def compared_rows(studies: list[PipelineStudy], run: Run, book: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per figure of the published runs that are nearest to a run; see `published_rows`.

    Args:
        book: content of the profile book.
    """
    rows = []
    for stage, training in ALL.items():
        if stage == "evaluate" and not run.params.evaluate.benchmarks:
            continue
        candidates = [(study, one) for study in studies if study.stage == stage for one in study.published_runs()]
        if candidates:
            study, variant, reasons = nearest(candidates, run, book)
            rows += [{"training": training, **row} for row in _rows(study, variant, run, reasons)]
    return rows


def nearest(candidates: list[Candidate], run: Run, book: Mapping[str, Any]) -> tuple[PipelineStudy, Variant, list[str]]:
    """Return the published run that a run is set beside, and why they cannot be compared.

    Of those that are alike in the study's `ways`, it is the one with the fewest other settings; without any, the
    book's own.
    """
    found = [(*candidate, compare(*candidate, run, book)) for candidate in candidates]
    alike = [one for one in found if not set(one[0].ways) & set(one[2].other)]
    study, variant, comparison = min(alike or found[:1], key=lambda one: len(one[2].other))
    unknown = [] if alike else ["not published for this variant; the book's main one is shown"]
    return study, variant, [*comparison.reasons, *unknown]


def last_run(root: Path) -> Run:
    """Return the last run of the pipeline in the project: its metrics, and the parameters that made them."""
    metrics = {path.stem: read_json(path) for path in sorted((root / "metrics").glob("*.json"))}
    if "evaluation" in metrics:
        metrics["evaluation"], _ = current_evaluation(root)
    plots = root / "metrics" / "plots"
    curves = {stage: read_curve(plots / f"{stage}.csv", optional=True) for stage in TRAININGS}
    return Run(params_of_results(root), metrics, curves)


def params_of_results(root: Path) -> Params:
    """Return the parameters that the results were made with: those that dvc.lock records, and else params.yaml's."""
    path = root / "params.yaml"
    recorded = {key: value for key, value in locked_params(root).items() if key in _SECTIONS}
    try:
        return Params.model_validate({**raw_params(path), **recorded})
    except ValidationError:  # a lock file of older code
        return load_params(path)


def _rows(study: PipelineStudy, variant: Variant, run: Run, reasons: list[str]) -> Iterator[dict[str, Any]]:
    for name, column in study.columns.items():
        if name in variant.published and column.file:  # times are of other machines
            ours, note = run.figure(column)
            yield _row(column, variant, variant.published[name], ours, [*reasons, note])
    by_step = {row["step"]: row for row in run.curves.get(study.stage, [])}
    for step, losses in variant.curve.items():
        for split, key, published in zip(("training", "validation"), ("train", "validation"), losses, strict=True):
            column = Column(title=f"{split} loss at step {step}", decimals=3)
            ours = by_step.get(step, {}).get(f"{key}_loss")
            yield {**_row(column, variant, published, ours, reasons), "step": step}


def _row(column: Column, variant: Variant, published: float, ours: float | None, reasons: list[str]) -> dict[str, Any]:
    unknown = "not measured here" if ours is None else ""
    return {
        "figure": column.title,
        "source": variant.origin,
        "published": published,
        "ours": ours,
        "difference": None if ours is None else ours - published,
        "decimals": column.decimals,
        "step": None,
        "note": "; ".join(filter(None, [*reasons, unknown])),
    }
