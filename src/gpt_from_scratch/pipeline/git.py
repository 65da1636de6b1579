"""What git knows of earlier states."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_output(root: Path, *arguments: str) -> str | None:
    """Return what a git command prints; None where it fails, or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
