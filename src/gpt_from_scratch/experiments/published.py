"""The published figures beside the project's own results, from the studies in `experiments/*.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gpt_from_scratch.experiments.comparable import BOOK, Run, compare
from gpt_from_scratch.experiments.settings import raw_params
from gpt_from_scratch.experiments.study import Column, PipelineStudy, Variant, read_study, study_names
from gpt_from_scratch.files.curves import read_curve
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.pipeline.dvc import locked_params

TRAININGS = {"pretrain": "pretraining", "finetune_classify": "classification", "finetune_instruct": "instructions"}
"""Names of the trainings in the tables, by stage."""
_SECTIONS = ("pretrain", "classify", "instruct", "split_spam", "evaluate")

Candidate = tuple[PipelineStudy, Variant]


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
    for stage, training in TRAININGS.items():
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
