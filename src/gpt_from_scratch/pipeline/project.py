"""Where the project is, for a copy of it too."""

from __future__ import annotations

import os
from pathlib import Path

from gpt_from_scratch.errors import InputError


def project_home(root: Path) -> Path:
    """Return the project's own folder, also where `root` is a copy that `dvc exp run --temp` works in.

    What outlives a run of the pipeline is kept there: runs, downloads, checkpoints.
    """
    return Path(os.environ.get("DVC_ROOT") or root).resolve()


def find_project() -> Path:
    """Return the project's folder: the present one, or the nearest above it with a dvc.yaml.

    Raises:
        InputError: when there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise InputError(f"{here}: expected a folder inside the project, found no dvc.yaml here or above")
