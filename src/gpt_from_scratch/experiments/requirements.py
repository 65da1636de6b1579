"""What a variant needs that is not here, and what keeps its figures from being the published ones'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt_from_scratch.experiments.settings import Planned
from gpt_from_scratch.experiments.study import PipelineStudy
from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.pipeline.git import git_output

REAL = ("openai", "huggingface")
_NAMED = 3


def missing(root: Path, planned: Planned, full: bool) -> str | None:
    """Return why a variant cannot run here, or is not worth it; None where nothing speaks against it."""
    needs, params = planned.variant.needs, planned.params
    if needs.file and not _is_tracked(root, needs.file):
        there = "which DVC does not know" if (root / needs.file).exists() else "which nobody fetches"
        return f"needs {needs.file}, {there}: put it there, then dvc add {needs.file} and git add {needs.file}.dvc"
    if full:
        return None
    in_small = needs.size is not None and needs.size not in params.gpt2_sizes
    if not in_small and needs.size not in (None, "124M") and params.download_gpt2.source == "synthetic":
        return f"needs {needs.size}, which is large, and with synthetic weights shows nothing; --full runs it"
    if needs.gpu and not in_small and not _has_gpu():
        return "needs a GPU: on this CPU it takes hours; --full runs it"
    return None


def not_comparable(
    study: PipelineStudy, planned: Planned, found: Params, metrics: Mapping[str, Any], reduced: bool
) -> list[str]:
    """Return the reasons why an experiment's figures cannot be held against the published ones.

    Args:
        planned: the variant over the profile book, which is what the figures are published for.
        found: the experiment's parameters.
        metrics: the experiment's metrics, by file.
    """
    reasons = ["reduced setting"] if reduced else []
    stage = metrics.get(study.stage, {})
    if (data := stage.get("data")) not in (None, "upstream"):
        reasons.append(f"other data: {data}")
    if planned.variant.needs.weights and (weights := stage.get("pretrained")) not in REAL:
        reasons.append(f"{weights} weights")
    size, base = planned.variant.needs.size, stage.get("base")
    if size and base not in (None, size):
        reasons.append(f"size: {base} in the place of {size}")
    other = list(_differences(study, planned.params.model_dump(), found.model_dump()))
    if other and found.profile != planned.params.profile:
        reasons.append(f"settings of the profile {found.profile}")
    elif other:
        more = f" and {len(other) - _NAMED} more" if len(other) > _NAMED else ""
        reasons.append(f"other settings: {', '.join(other[:_NAMED])}{more}")
    return reasons


def _differences(study: PipelineStudy, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for section in study.compared:
        yield from _unlike(expected[section], found[section], section, study.indifferent)


def _unlike(expected: Any, found: Any, key: str, indifferent: list[str]) -> Iterator[str]:
    if key in indifferent or expected == found:
        return
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in expected:
            yield from _unlike(expected[name], found.get(name), f"{key}.{name}", indifferent)
    else:
        yield f"{key} {found}"


def _is_tracked(root: Path, file: str) -> bool:
    """Return whether an experiment's copy of the project gets the file: from git, or from DVC."""
    return bool(git_output(root, "ls-files", "--", file, f"{file}.dvc"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
