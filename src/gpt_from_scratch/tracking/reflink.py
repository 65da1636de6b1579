"""Reflink or hard link instead of a copy, where the file system can do that."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Way = Literal["ref-linked", "hard-linked", "copied"]


def place(source: Path, target: Path, kept: Path | None = None) -> Way:
    """Place a file's content at a new path, where later changes of `source` do not show; return how that was done.

    A reflink is a copy that shares its bytes until one side is changed. A hard link is the same file under two names,
    and therefore made only of `kept`, never of `source`, which may be overwritten in place.

    Args:
        kept: a file with the same content that is never written to again, such as one in DVC's cache.
    """
    from dvc_objects.fs.system import hardlink, reflink

    ways: list[tuple[Way, Callable[[str, str], None], Path | None]] = [
        ("ref-linked", reflink, source),
        ("hard-linked", hardlink, kept),
    ]
    for way, link, origin in ways:
        with contextlib.suppress(OSError):  # another file system, or one without such links
            if origin is not None:
                link(str(origin), str(target))
                return way
    shutil.copyfile(source, target)
    return "copied"
