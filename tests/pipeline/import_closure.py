"""The modules of the package that a module imports, directly or through others, when it runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "gpt_from_scratch"


def import_closure(start: Path, source: Path) -> list[Path]:
    """Return the package's files that a file imports, at the top or inside functions; not those for types alone."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        for file in imported_files(waiting.pop(), source):
            if file not in found:
                found.add(file)
                waiting.append(file)
    return sorted(found)


def imported_files(path: Path, source: Path) -> set[Path]:
    """Return the package's files that a file imports itself, with those of the packages that they lie in."""
    files: set[Path] = set()
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
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


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a tree's nodes, but for the blocks under `if TYPE_CHECKING`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _running(child)


def _files(module: str, source: Path) -> set[Path]:
    """Return a module's file and those of the packages that it lies in; nothing for a name inside a module."""
    parts = module.split(".")
    files = {source.joinpath(*parts[:end], "__init__.py") for end in range(1, len(parts) + 1)}
    files.add(source.joinpath(*parts).with_suffix(".py"))
    return {file for file in files if file.is_file()}
