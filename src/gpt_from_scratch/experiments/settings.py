"""The parameters of a variant: params.yaml with the study's values over it, checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gpt_from_scratch.errors import InputError, reason, shown
from gpt_from_scratch.experiments.study import PipelineStudy, Settings, Variant
from gpt_from_scratch.files.reading import read_text
from gpt_from_scratch.params.plain_yaml import parse_yaml
from gpt_from_scratch.params.sections import LARGEST_FILE, Params
from gpt_from_scratch.pipeline.git import git_output

_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "nan", "inf")


@dataclass(frozen=True)
class Planned:
    """A variant with its parameters.

    Attributes:
        name: of the DVC experiment.
        changes: what is set over params.yaml.
        params: all parameters.
    """

    name: str
    variant: Variant
    changes: Settings
    params: Params


def experiment_name(study: str, variant: str, reduced: bool) -> str:
    """Return the name of a variant's DVC experiment; the two settings lie side by side."""
    return f"{study}-{variant}-reduced" if reduced else f"{study}-{variant}"


def changes_of(study: PipelineStudy, variant: Variant, reduced: bool) -> Settings:
    """Return the values that a variant sets over params.yaml."""
    changes = {**study.params, **variant.params}
    return {**changes, **study.reduced, **variant.reduced} if reduced else changes


def plan(base: Mapping[str, Any], study: str, variant: Variant, changes: Settings, reduced: bool) -> Planned:
    """Return a variant with its parameters.

    Args:
        base: the content of params.yaml.

    Raises:
        InputError: when a key is unknown or the parameters do not fit together.
    """
    name = experiment_name(study, variant.name, reduced)
    return Planned(name, variant, changes, merged(base, changes, name))


def missing(root: Path, planned: Planned, full: bool) -> str | None:
    """Return why a variant cannot run here, or is not worth it; None where nothing speaks against it."""
    needs, params = planned.variant.needs, planned.params
    if needs.file and not git_output(root, "ls-files", "--", needs.file, f"{needs.file}.dvc"):
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


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def merged(base: Mapping[str, Any], changes: Settings, name: str) -> Params:
    """Return parameters with changes, checked.

    Args:
        name: their name in an error.

    Raises:
        InputError: when a key is unknown or the parameters do not fit together.
    """
    content = deepcopy(dict(base))
    for key, value in changes.items():
        *sections, last = key.split(".")
        place: Any = content
        for part in sections:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            cure = "python -m gpt_from_scratch.params params.yaml writes those that it leaves out"
            raise InputError(f"{name}: {key}: unknown parameter, found {shown(value)}; {cure}")
        place[last] = value
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{name}: {place + ': ' if place else ''}{reason(Exception(first['msg']))}") from None


def raw_params(path: Path) -> dict[str, Any]:
    """Return the content of a parameter file, which `load_params` checks.

    Raises:
        InputError: when it holds no sections.
    """
    content = parse_yaml(read_text(path, LARGEST_FILE), path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected sections with parameters, found {type(content).__name__}")
    return content


def read_change(text: str) -> tuple[str, Any]:
    """Return key and value of `key=value`.

    Raises:
        InputError: when it is not of this form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set: expected KEY=VALUE, found {shown(text)}")
    return key, parse_yaml(value, "--set") if value else ""


def override(key: str, value: Any) -> str:
    """Return a change as `dvc exp run -S` reads it."""
    return f"{key}={_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(_written(item) for item in value)}]"
    if isinstance(value, str):
        looks_else = value.lower() in _WORDS or not value[:1].isalpha()
        return value if _PLAIN.fullmatch(value) and not looks_else else "'" + value.replace("'", r"\'") + "'"
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)
    )
