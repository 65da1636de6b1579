"""Import a module as if the base install alone were there: `python tests/base_install.py gpt_from_scratch.recipes`."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def plain(requirement: str) -> str:
    """Return a requirement's normalised name."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def needed(name: str, found: set[str]) -> set[str]:
    """Add a distribution, and all that it requires without an extra, to those that were found."""
    if name not in found:
        found.add(name)
        try:
            for requirement in requires(name) or ():
                if "extra ==" not in requirement:
                    needed(plain(requirement), found)
        except PackageNotFoundError:  # for another system
            pass
    return found


class Hide:
    """An import hook for which packages outside the base install do not exist."""

    def __init__(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        base: set[str] = {"gpt-from-scratch"}
        for requirement in project["dependencies"]:
            needed(plain(requirement), base)
        tops = packages_distributions()
        self.hidden = {top for top, names in tops.items() if base.isdisjoint(map(plain, names))} - {"setuptools"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    hide = Hide()
    assert {"dvc", "mlflow", "gradio", "pooch", "tensorflow", "sklearn", "typer"} <= hide.hidden, hide.hidden
    sys.meta_path.insert(0, hide)
    for module in sys.argv[1:]:
        importlib.import_module(module)
