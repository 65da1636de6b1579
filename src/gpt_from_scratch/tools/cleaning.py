"""Freeing the disk space of everything that can be made again: `python -m gpt_from_scratch.tools.cleaning`.

It needs nothing but Python itself, so that it also works where nothing is installed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# Below models/ the folders and not the whole of it: git holds a .gitignore there.
MADE = (
    "data/raw",
    "data/spam",
    "models/*/",
    ".dvc/cache",
    ".cache",
    ".hypothesis",
    ".pytest_cache",
    ".ruff_cache",
    "src/**/__pycache__",
    "stages/__pycache__",
    "tests/**/__pycache__",
)


def clean(root: Path) -> int:
    """Delete the stages' large outputs, DVC's cache of them, downloads and the tools' caches.

    Tracked files, the parameters, the environment and MLflow's runs stay.

    Returns:
        The bytes that the deleted files took.
    """
    freed = 0
    for folder in [path for pattern in MADE for path in root.glob(pattern)]:
        if folder.is_symlink():  # what it points to is not ours
            folder.unlink()
        elif folder.is_dir():
            freed += sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())
            shutil.rmtree(folder)
    return freed


def readable(size: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def report(root: Path) -> str:
    """Clean, and return a line about it."""
    return f"{readable(clean(root))} freed; `make repro` makes it again"


if __name__ == "__main__":
    here = Path.cwd()
    if not (here / "dvc.yaml").is_file():
        sys.exit(f"error: {here}: expected the project's folder, found no dvc.yaml in it")
    print(report(here))
