"""The figures that `evaluate` measured on a model folder, as they stand in the project's metrics."""

from __future__ import annotations

import re
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figure_text, figures, label
from gpt_from_scratch.files.writing import read_json

_SECTIONS = {"pretrain": "language_model", "classifier": "classifier", "instruct": "instructions"}


def role(folder: Path) -> str | None:
    """Return the name of the pipeline's trained model that a folder is, by its place in a project; None for others."""
    folder = folder.resolve()
    inside = folder.parent.name == "models" and (folder.parent.parent / "dvc.yaml").is_file()
    return folder.name if inside and folder.name in _SECTIONS else None


def model_figures(folder: Path) -> dict[str, str]:
    """Return the evaluation's figures on a model as text, by label: a section's own, and those of test splits.

    There are none for a folder that is not the pipeline's own.
    """
    name = role(folder)
    if name is None:
        return {}
    try:
        results = read_json(folder.resolve().parent.parent / "metrics" / "evaluation.json")[_SECTIONS[name]]
    except (InputError, KeyError):  # not evaluated yet
        return {}
    return {
        label(name): figure_text(value, name)
        for name, value in figures(results).items()
        if "/" not in name or re.match("test[^/]*/[^/]*$", name)
    }
