"""Texts that people read in MLflow: names and descriptions of runs, and the experiment's description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gpt_from_scratch.evaluation.figures import headline
from gpt_from_scratch.files.nested import flatten
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.pipeline.dvc import stages_in
from gpt_from_scratch.tracking.facts import as_param

NOTE = "mlflow.note.content"
"""The tag that MLflow's pages show as a description."""

MOST_EDITS = 3

EXPERIMENT_NOTE = """GPT-2 from scratch: every run of the pipeline's stages, and its states.

- **Compare states**: the view *States*, under *Views* at the top right (or search for `tags.kind = "summary"`). Each
  of these runs holds the headline figures of one state of the whole pipeline; tick two, press *Compare*, switch on
  *Show diff only*.
- **Look at trainings**: the views *Curves*. The losses come first, then scores, speed and the machine's load; what the
  model wrote after each epoch is in the table `samples.json`.
- **Losses**: the curves `loss/train_loss` and `loss/validation_loss` are means over `eval_batches` batches; the figures
  of a state, such as `language_model/validation_loss`, over the whole set.
- A name says first what was changed: `lr=0.0003 · pretrain · quick` is the profile quick but for this.
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


def run_name(kind: str, profile: str, edited: Sequence[str]) -> str:
    """Return a run's name: what differs from its profile, which a narrow column shows, its kind and its profile."""
    keys = [edit.partition("=")[0] for edit in edited]
    named = [f"{_short(key, keys)}{edit.removeprefix(key)}" for key, edit in zip(keys, edited, strict=True)]
    said = [*named[:MOST_EDITS], *([f"{len(named) - MOST_EDITS} more"] if len(named) > MOST_EDITS else [])]
    return " · ".join([*([", ".join(said)] if said else []), kind, profile])


def _short(key: str, keys: Sequence[str]) -> str:
    """Return a key's last part; with the section before it, or whole, where that is another key's too."""
    forms = (lambda key: key.split(".")[-1], lambda key: f"{key.split('.')[0]}.{key.split('.')[-1]}")
    return next((form(key) for form in forms if [form(other) for other in keys].count(form(key)) == 1), key)


def stage_note(root: Path, stage: str, profile: str, edited: Sequence[str]) -> str:
    """Return the description of a stage's run."""
    try:
        described = stages_in(root / "dvc.yaml")[stage]["desc"]
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        described = f"The stage {stage}"
    return f"{described}.\n\n{_parameters(profile, edited)}\n\nAgain: `dvc repro --single-item --force {stage}`"


def summary_note(profile: str, edited: Sequence[str], evaluation: Mapping[str, Any]) -> str:
    """Return the description of a state of the whole pipeline."""
    rows = [
        f"| {name} | {text}{within and f' (95 % interval {within})'} |" for name, text, within in headline(evaluation)
    ]
    facts = [f"{key}: {evaluation[key]}" for key in ("data", "pretrained") if key in evaluation]
    table = ["| figure | value |", "|---|---|", *rows]
    return "\n".join(
        ["One state of the whole pipeline.", "", _parameters(profile, edited), "", "; ".join(facts), "", *table]
    )


def _parameters(profile: str, edited: Sequence[str]) -> str:
    changed = "".join(f"\n- `{edit}`" for edit in edited)
    return f"Parameters: the profile **{profile}**" + (f", but for\n{changed}" if edited else ", unchanged")
