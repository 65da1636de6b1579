"""The project's folder, for a copy of it too, and what it keeps beside the pipeline's outputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_from_scratch.errors import InputError

if TYPE_CHECKING:
    from gpt_from_scratch.data.fetch.download import Downloads


def project_home(root: Path) -> Path:
    """Return the project's own folder, also where `root` is a copy that `dvc exp run --temp` works in.

    What outlives a run of the pipeline is kept there: runs, downloads, checkpoints. `DVC_ROOT` may be the root of
    another project, of which this one is a part or a stage.
    """
    root, outer = root.resolve(), Path(os.environ.get("DVC_ROOT") or root).resolve()
    copies = outer / ".dvc" / "tmp" / "exps"
    if not root.is_relative_to(copies):
        return root
    inner = outer.joinpath(*root.relative_to(copies).parts[1:])  # below the copy's name stands what stands below outer
    return inner if (inner / "dvc.yaml").is_file() else outer


def corpora_folder(root: Path) -> Path:
    """Return the folder that keeps large corpora as token ids from one run of a stage to the next."""
    return project_home(root) / ".cache" / "corpora"


def downloads(root: Path, *, offline: bool) -> Downloads:
    """Return the folder that keeps files as they came from their hosts, and where they are fetched from.

    `GPT_MIRROR` names a mirror; a relative folder counts from the project's folder.
    """
    from gpt_from_scratch.data.fetch.download import Downloads

    home = project_home(root)
    mirror = os.environ.get("GPT_MIRROR") or None
    if mirror and not mirror.startswith(("http://", "https://")):
        mirror = str(home / mirror)
    return Downloads(home / ".cache" / "downloads", mirror, offline)


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
