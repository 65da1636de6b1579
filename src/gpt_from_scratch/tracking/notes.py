"""Texts that people read in MLflow: names and descriptions of runs, and the experiment's description."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gpt_from_scratch.evaluation.figures import headline
from gpt_from_scratch.files.nested import flatten
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.tracking.facts import as_param

NOTE = "mlflow.note.content"
"""The tag that MLflow's pages show as a description."""

MOST_EDITS = 3

EXPERIMENT_NOTE = """GPT-2 from scratch: every run of the pipeline's stages, and its states.

- **Compare states**: search for `tags.kind = "summary"`. Each of these runs holds the headline figures of one state of
  the whole pipeline; tick two, press *Compare*, switch on *Show diff only*.
- **Look at trainings**: search for `tags.stage = "pretrain"` (or `finetune_classify`, `finetune_instruct`). Curves are
  under *Model metrics*, the machine's load under *System metrics*, what the model wrote after each epoch in the table
  `samples.json`.
- **Losses**: the curves `train_loss` and `validation_loss` are means over `eval_batches` batches; the figures of a
  summary, such as `language_model/validation_loss`, over the whole set.
- A name says what was changed: `pretrain (quick, pretrain.optimizer.lr=0.0003)` is the profile quick but for this.
- **Models**: their versions are under *Models*; `champion` is the best of each.
"""


def edits(root: Path, profile: str, params: Mapping[str, Any]) -> list[str]:
    """Return the parameters that differ from the profile that they name, as `key=value`.

    Nothing where there is no such profile, or it is not a valid one.
    """
    path = root / "profiles" / f"{profile}.yaml"
    try:
        usual = flatten(load_params(path).model_dump(mode="json"))
    except (OSError, ValueError):
        return []
    found = flatten(params)
    return [f"{key}={as_param(value, 40)}" for key, value in found.items() if key in usual and usual[key] != value]


def run_name(kind: str, profile: str, edited: Sequence[str], *further: str) -> str:
    """Return a run's name: its kind, its profile and the parameters that differ from it."""
    said = [*edited[:MOST_EDITS], *([f"and {len(edited) - MOST_EDITS} more"] if len(edited) > MOST_EDITS else [])]
    if experiment := os.environ.get("DVC_EXP_NAME"):
        said.append(experiment)
    return f"{kind} ({', '.join([profile, *said, *further])})"


def stage_note(root: Path, stage: str, profile: str, edited: Sequence[str]) -> str:
    """Return the description of a stage's run."""
    try:
        described = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["desc"]
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        described = f"The stage {stage}"
    return f"{described}.\n\n{_parameters(profile, edited)}\n\nAgain: `dvc repro --single-item --force {stage}`"


def summary_note(profile: str, edited: Sequence[str], evaluation: Mapping[str, Any]) -> str:
    """Return the description of a state of the whole pipeline."""
    rows = [f"| {name} | {text} |" for name, text in headline(evaluation)]
    facts = [f"{key}: {evaluation[key]}" for key in ("data", "pretrained") if key in evaluation]
    table = ["| figure | value |", "|---|---|", *rows]
    return "\n".join(
        ["One state of the whole pipeline.", "", _parameters(profile, edited), "", "; ".join(facts), "", *table]
    )


def _parameters(profile: str, edited: Sequence[str]) -> str:
    changed = "".join(f"\n- `{edit}`" for edit in edited)
    return f"Parameters: the profile **{profile}**" + (f", but for\n{changed}" if edited else ", unchanged")
