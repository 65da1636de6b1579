"""Which modules of the package a script really uses: what dvc.yaml has to list as deps."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = "gpt_from_scratch"


def import_closure(script: Path, source: Path) -> list[Path]:
    """Return the package's files that a script imports, directly or through others, at the top or inside functions."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for file in _imported(waiting.pop(), source):
            if file not in found:
                found.add(file)
                waiting.append(file)
    return sorted(found)


def _imported(path: Path, source: Path) -> set[Path]:
    files: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == PACKAGE:
                files |= _files(name, source)
    return files


def _files(module: str, source: Path) -> set[Path]:
    """Return a module's file and those of the packages that it lies in; nothing for a name inside a module."""
    parts = module.split(".")
    files = {source.joinpath(*parts[:end], "__init__.py") for end in range(1, len(parts) + 1)}
    files.add(source.joinpath(*parts).with_suffix(".py"))
    return {file for file in files if file.is_file()}
