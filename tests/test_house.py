"""The structure of the package: the core, the shell around it, and the wall between them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from import_closure import imported_files  # isort: skip

CORE = {
    *("data", "errors", "evaluation", "files", "generation", "model", "params"),
    *("recipes", "tokenizer", "training", "weights"),
}


@pytest.fixture(scope="module")
def imports(root) -> dict[Path, set[Path]]:
    """Return what each module of the package imports of it; a module's own packages are there before it."""
    package = root / "src/gpt_from_scratch"
    found = {}
    for path in package.rglob("*.py"):
        own = {folder / "__init__.py" for folder in path.parents}
        files = imported_files(path, root / "src") - own - {path, package / "__init__.py"}
        found[path.relative_to(package)] = {file.relative_to(package) for file in files}
    return found


def room(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def test_nothing_lies_loose(imports):
    assert {str(path) for path in imports if len(path.parts) == 1} <= {
        *("__init__.py", "__main__.py", "cli.py", "errors.py"),
    }


def test_the_core_imports_nothing_of_the_shell(imports):
    over = [f"{path} -> {file}" for path, files in imports.items() if room(path) in CORE for file in files]
    assert [arrow for arrow in over if room(Path(arrow.partition(" -> ")[2])) not in CORE] == []


def test_no_import_circles(imports):
    reach = {path: set(files) for path, files in imports.items()}
    changed = True
    while changed:
        changed = False
        for files in reach.values():
            more = set().union(*(reach[file] for file in files)) - files
            files |= more
            changed = changed or bool(more)
    assert [str(path) for path, files in reach.items() if path in files] == []


def test_processes_are_started_in_the_pipeline_alone(root):
    package = root / "src/gpt_from_scratch"
    starting = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "import subprocess" in path.read_text(encoding="utf-8")
    }
    assert {name for name in starting if not name.startswith("pipeline/")} == set()


def test_the_recipes_need_no_more_than_the_base_install(root):
    """As in a notebook: everything else that is installed here is hidden."""
    recipes = ("pretrain", "classify", "instruct", "evaluate")
    modules = ["gpt_from_scratch.recipes", *(f"gpt_from_scratch.recipes.{recipe}" for recipe in recipes)]
    command = [sys.executable, str(root / "tests/base_install.py"), *modules]
    answer = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root / "src")})
    assert answer.returncode == 0, answer.stderr


def test_what_needs_no_pytorch_loads_none(root):
    """A stage without a training, and the results; the latter are written into MLflow."""
    code = "import sys; from gpt_from_scratch.pipeline import data_stages, side_by_side, stage; "
    code += "print(*{'torch', 'mlflow', 'tensorflow'} & sys.modules.keys()); "
    code += "from gpt_from_scratch.report import comparison, page, results; "
    code += "from gpt_from_scratch.tools import conclusion; print(*{'torch', 'tensorflow'} & sys.modules.keys())"
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert answer.stdout.strip() == ""
