"""Every call of git: read-only questions about a project's files and commits, and DVC's experiment refs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from gpt_from_scratch.errors import InputError

SECONDS = 60.0
"""Longest time that a git command may take."""


def run_git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Run a git command in a folder and return how it ended; None where there is no git, or it takes too long."""
    # Without the optional locks, a question does not get in the way of a git command that DVC runs.
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def git_output(root: Path, *arguments: str) -> str | None:
    """Return what a git command prints, without the last line end; None where it fails."""
    done = run_git(root, *arguments)
    return done.stdout.rstrip() if done is not None and done.returncode == 0 else None


def head(root: Path) -> str:
    """Return the commit that is checked out.

    Raises:
        InputError: where there is none: DVC's experiments are commits that start from it.
    """
    commit = git_output(root, "rev-parse", "HEAD")
    if commit is None:
        raise InputError(f"{root}: expected a git checkout with a commit, which DVC's experiments begin from")
    return commit


def working_files(root: Path) -> list[str]:
    """Return the tracked files and the untracked ones that are not ignored, by their paths below `root`.

    Raises:
        InputError: where git knows of no project.
    """
    listed = git_output(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is None:
        raise InputError(f"{root}: expected a git checkout, found none, or no git")
    return [name for name in listed.split("\0") if name]
