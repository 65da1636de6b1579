"""DVC's experiments as git keeps them: a commit each, under refs/exps, with its parameters and metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.reading import parse_json
from gpt_from_scratch.params.plain_yaml import parse_yaml
from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.pipeline.dvc import stages_in
from gpt_from_scratch.pipeline.git import git_output, run_git

_REF = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>[^/]+)")


@dataclass(frozen=True)
class Recorded:
    """A finished experiment.

    Attributes:
        name: as it was started.
        commit: what git keeps of it.
        baseline: the commit that it was started from.
        made: when, seconds since 1970.
    """

    root: Path
    name: str
    commit: str
    baseline: str
    made: int

    def params(self) -> Params | None:
        """Return its parameters; None where they are not those of this code."""
        try:
            return Params.model_validate(parse_yaml(self._file("params.yaml") or "", self.name))
        except (InputError, ValidationError):
            return None

    def metrics(self, name: str) -> dict[str, Any]:
        """Return the content of `metrics/<name>.json`; nothing where it has none."""
        text = self._file(f"metrics/{name}.json")
        return parse_json(text, f"{self.name}: metrics/{name}.json") if text else {}

    def has_present_code(self) -> bool:
        """Return whether the stages and what they use are what lies in the working tree."""
        done = run_git(self.root, "diff", "--quiet", self.commit, "--", "dvc.yaml", *code_paths(self.root))
        return done is not None and done.returncode == 0

    def remove(self) -> None:
        """Remove it, as `dvc exp remove` does; that command takes a name, which may stand under several commits."""
        git_output(self.root, "update-ref", "-d", f"refs/exps/{self.baseline[:2]}/{self.baseline[2:]}/{self.name}")

    def _file(self, path: str) -> str | None:
        return git_output(self.root, "show", f"{self.commit}:{path}")


def recorded(root: Path) -> dict[str, list[Recorded]]:
    """Return the finished experiments by name, the newest first; one name may stand under several commits."""
    lines = (
        git_output(root, "for-each-ref", "--format=%(objectname) %(committerdate:unix) %(refname)", "refs/exps") or ""
    )
    found: dict[str, list[Recorded]] = {}
    for line in lines.splitlines():
        commit, made, ref = line.split(" ", 2)
        if match := _REF.fullmatch(ref):
            baseline = "".join(ref.split("/")[2:4])
            found.setdefault(match["name"], []).append(Recorded(root, match["name"], commit, baseline, int(made)))
    return {name: sorted(same, key=lambda one: -one.made) for name, same in found.items()}


def code_paths(root: Path) -> list[str]:
    """Return what git holds of the stages' dependencies: scripts, modules, the sample."""
    deps = {dep for stage in stages_in(root / "dvc.yaml").values() for dep in stage.get("deps", [])}
    return sorted(dep for dep in deps if dep.startswith(("src/", "stages/", "data/sample")))


def untracked_code(root: Path) -> list[str]:
    """Return the files under src/ and stages/ that git does not know, and that no experiment therefore sees."""
    lines = git_output(root, "ls-files", "--others", "--exclude-standard", "--", "src", "stages") or ""
    return lines.splitlines()
