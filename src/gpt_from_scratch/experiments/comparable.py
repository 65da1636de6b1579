"""The one decision whether figures can be compared with published ones: same data, weights, base and settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments.settings import changes_of, merged
from gpt_from_scratch.experiments.study import Column, PipelineStudy, Variant
from gpt_from_scratch.files.curves import Curve
from gpt_from_scratch.files.nested import at
from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.tracking.facts import flatten

BOOK = "profiles/book.yaml"
"""The parameters that the published figures are for, each variant's own over them."""
REAL = ("openai", "huggingface")
_NAMED = 3


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
    facts = run.metrics.get(study.stage, {})
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
