"""Where the project is, for a copy of it too."""

from __future__ import annotations

import os
from pathlib import Path


def project_home(root: Path) -> Path:
    """Return the project's own folder, also where `root` is a copy that `dvc exp run --temp` works in.

    What outlives a run of the pipeline is kept there: runs, downloads, checkpoints.
    """
    return Path(os.environ.get("DVC_ROOT") or root).resolve()
