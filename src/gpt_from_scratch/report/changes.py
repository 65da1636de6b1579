"""Changes of the metrics since the commit before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt_from_scratch.files.nested import flatten
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.pipeline.git import git_output


@dataclass(frozen=True)
class Change:
    """A figure that changed; None where it was not there before, or is not there now."""

    file: str
    figure: str
    before: float | None
    now: float | None

    @property
    def difference(self) -> float | None:
        """The change, positive where it is larger now."""
        return None if self.before is None or self.now is None else self.now - self.before


@dataclass(frozen=True)
class Changes:
    """The figures that changed since a commit, which `git log` names `against`; that is empty where there is none."""

    against: str
    rows: list[Change]


def metric_changes(root: Path) -> Changes:
    """Compare `metrics/*.json` with the last commit; with the one before, where they still are the last one's."""
    files = sorted((root / "metrics").glob("*.json"))
    now = {path.name: _figures(read_json(path)) for path in files}
    for revision in ("HEAD", "HEAD~1"):
        commit = git_output(root, "log", "-1", "--format=%h %s", revision)
        if commit is None:
            break
        before = {name: _committed(root, revision, name) for name in now}
        rows = [
            Change(name, figure, before[name].get(figure), now[name].get(figure))
            for name in now
            for figure in sorted(before[name].keys() | now[name].keys())
            if before[name].get(figure) != now[name].get(figure)
        ]
        if rows or revision == "HEAD~1":
            return Changes(commit, rows)
    return Changes("", [])


def _committed(root: Path, revision: str, name: str) -> dict[str, float]:
    text = git_output(root, "show", f"{revision}:./metrics/{name}")
    try:
        return _figures(json.loads(text or "{}"))
    except ValueError:
        return {}


def _figures(content: Any) -> dict[str, float]:
    """Return the numbers of nested objects by their path; lists hold texts and tables, not figures."""
    leaves = flatten(content) if isinstance(content, Mapping) else {}
    return {
        name: value for name, value in leaves.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
