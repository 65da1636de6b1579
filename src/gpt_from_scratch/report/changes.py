"""Changes of metrics and parameters since the commit before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gpt_from_scratch.files.nested import flatten
from gpt_from_scratch.pipeline.git import git_output


@dataclass(frozen=True)
class Change:
    """A figure or parameter that changed; None where it was not there before, or is not there now."""

    file: str
    name: str
    before: Any
    now: Any


@dataclass(frozen=True)
class Changes:
    """The figures and parameters that changed since a commit, which `git log` names `against`.

    `against` is empty where there is no commit with metrics.
    """

    against: str = ""
    figures: list[Change] = field(default_factory=list)
    params: list[Change] = field(default_factory=list)


def changes(root: Path) -> Changes:
    """Compare `metrics/*.json` and params.yaml with the last commit; with the one before, where they are the last's.

    A metrics file that the commit lacks is left out: there is nothing to compare it with.
    """
    metrics = [f"metrics/{path.name}" for path in sorted((root / "metrics").glob("*.json"))]
    found = Changes()
    for revision in ("HEAD", "HEAD~1"):
        before = {name: git_output(root, "show", f"{revision}:./{name}") for name in [*metrics, "params.yaml"]}
        present = [name for name in metrics if before[name] is not None]
        if not present:
            break
        found = Changes(
            git_output(root, "log", "-1", "--format=%h %s", revision) or "",
            [change for name in present for change in _between(root, name, before[name], _numbers)],
            _between(root, "params.yaml", before["params.yaml"], _leaves),
        )
        if found.figures or found.params:
            break
    return found


def _between(root: Path, name: str, text: str | None, read: Callable[[str], dict[str, Any]]) -> list[Change]:
    before, now = read(text or ""), read((root / name).read_text(encoding="utf-8"))
    return [
        Change(Path(name).stem, key, before.get(key), now.get(key))
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]


def _leaves(text: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return flatten(content) if isinstance(content, Mapping) else {}


def _numbers(text: str) -> dict[str, float]:
    """Return the numbers of nested objects by their path; lists hold texts and tables, not figures."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    leaves = flatten(content, "/") if isinstance(content, Mapping) else {}
    return {
        name: value for name, value in leaves.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
