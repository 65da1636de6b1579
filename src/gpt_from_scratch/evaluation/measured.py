"""The models that `evaluate` measured, by hash, and on which texts: a figure is shown with its own model only."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figures, label, with_interval
from gpt_from_scratch.files.writing import read_json, sha256

PARTS = {"pretrain": "language_model", "classifier": "classifier", "instruct": "instructions"}
"""The pipeline's trained models, by their folder below `models/`, and their part of `metrics/evaluation.json`."""

MEASURED = Path("tables/models.json")
"""Hashes of what was measured, below `metrics/`: see `measured`."""

_WEIGHTS = "model.safetensors"


def measured(folder: Path, test_set: Any) -> dict[str, str]:
    """Return the hashes of a model's weights and of the texts that it was measured on."""
    texts = hashlib.sha256(json.dumps(test_set, sort_keys=True).encode())
    return {"weights": sha256(folder / _WEIGHTS), "test_set": texts.hexdigest()}


def role(folder: Path) -> str | None:
    """Return the name of the pipeline's trained model that a folder is, by its place in a project; None for others."""
    folder = folder.resolve()
    inside = folder.parent.name == "models" and (folder.parent.parent / "dvc.yaml").is_file()
    return folder.name if inside and folder.name in PARTS else None


def current_evaluation(root: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the evaluation without the parts on models that have changed since, and the names of these models.

    A model whose files are not here, as in a fresh clone, counts as the one that was measured.

    Raises:
        InputError: when `metrics/evaluation.json` is missing or not JSON.
    """
    evaluation = read_json(root / "metrics" / "evaluation.json")
    path = root / "metrics" / MEASURED
    noted = read_json(path) if path.is_file() else {}
    folders = {part: name for name, part in PARTS.items()}
    if "benchmarks" in evaluation:
        folders["benchmarks"] = evaluation["benchmarks"]["model"]
    weights = {name: root / "models" / name / _WEIGHTS for name in folders.values()}
    changed = [
        name for name, path in weights.items() if path.is_file() and sha256(path) != noted.get(name, {}).get("weights")
    ]
    return {key: part for key, part in evaluation.items() if folders.get(key) not in changed}, changed


def model_figures(folder: Path) -> dict[str, str]:
    """Return the evaluation's figures on a model as text, by label: a section's own, and those of test splits.

    There are none for a folder that is not the pipeline's own, or that `evaluate` has not measured as it is now.
    """
    name = role(folder)
    if name is None:
        return {}
    try:
        results = current_evaluation(folder.resolve().parent.parent)[0][PARTS[name]]
    except (InputError, KeyError):  # not evaluated yet
        return {}
    found = figures(results)
    shown = (name for name in found if "/" not in name or re.match("test[^/]*/[^/]*$", name))
    return {label(name): with_interval(found, name) for name in shown}
