"""Token ids on disk, read through a memory map: what is not looked at takes no memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TYPE = np.dtype("<u2")
"""Two bytes an id, enough for GPT-2's 50,257."""

OPEN_FILES = 64
"""Files that stay open, each as one descriptor of the process; many systems allow 256 in all."""


class TokenMap:
    """The ids in several files, one after another, or a part of them.

    Args:
        paths: files of ids as `TYPE`, none of them empty.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        found = [path.stat() for path in paths]
        self._files = [(path, stat.st_ino, stat.st_mtime_ns) for path, stat in zip(paths, found, strict=True)]
        self._sizes = [stat.st_size // TYPE.itemsize for stat in found]
        self._ends = np.cumsum(self._sizes)
        self._range = range(int(self._ends[-1]))

    def __len__(self) -> int:
        return len(self._range)

    def __getitem__(self, place: slice) -> NDArray[np.uint16]:
        """Return a copy of the ids from `place.start` to before `place.stop`, an array `[ids]`."""
        ids = self._range[place]
        number = int(np.searchsorted(self._ends, ids.start, side="right"))
        found, start = np.empty(len(ids), TYPE), ids.start
        while start < ids.stop:
            first = int(self._ends[number]) - self._sizes[number]
            end = min(ids.stop, int(self._ends[number]))
            found[start - ids.start : end - ids.start] = _opened(*self._files[number])[start - first : end - first]
            start, number = end, number + 1
        return found

    def split(self, fraction: float) -> tuple[TokenMap, TokenMap]:
        """Return the first `fraction` of the ids, and the rest."""
        end = int(fraction * len(self))
        return self._part(slice(0, end)), self._part(slice(end, None))

    def _part(self, place: slice) -> TokenMap:
        part = object.__new__(TokenMap)
        part._files, part._sizes, part._ends, part._range = self._files, self._sizes, self._ends, self._range[place]
        return part


@lru_cache(maxsize=OPEN_FILES)
def _opened(path: Path, inode: int, changed: int) -> NDArray[np.uint16]:
    del inode, changed  # a file that was made anew is another one
    return np.memmap(path, TYPE, mode="r")
