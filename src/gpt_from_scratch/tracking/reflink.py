"""Reflink or hard link instead of a copy, where the file system can do that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

Way = Literal["ref-linked", "hard-linked", "copied"]


def place(source: Path, target: Path, kept: Path | None = None) -> Way:
    """Place a file's content at a new path, where later changes of `source` do not show.

    A reflink is a copy that shares its bytes until one side is changed. A hard link is the same file under two names,
    and therefore made only of `kept`, never of `source`, which may be overwritten in place.

    Args:
        kept: a file with the same content that nobody ever writes to again, such as one in DVC's cache, whose name is
            its hash.

    Returns:
        How it was done.
    """
    from dvc_objects.fs.system import hardlink, reflink

    try:
        reflink(str(source), str(target))
    except OSError:
        if kept is not None:
            try:
                hardlink(str(kept), str(target))
            except OSError:  # another file system, or one without links
                pass
            else:
                return "hard-linked"
        shutil.copyfile(source, target)
        return "copied"
    return "ref-linked"
