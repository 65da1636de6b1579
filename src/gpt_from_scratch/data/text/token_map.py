"""Token ids on disk: what is not looked at takes no memory, and no file stays open, however many they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TYPE = np.dtype("<u2")
"""Two bytes an id, enough for GPT-2's 50,257."""


class TokenMap:
    """The ids in several files, one after another, or a part of them.

    Args:
        paths: files of ids as `TYPE`, none of them empty.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._ends = np.cumsum([path.stat().st_size // TYPE.itemsize for path in paths])
        self._range = range(int(self._ends[-1]) if paths else 0)

    def __len__(self) -> int:
        return len(self._range)

    def __getitem__(self, place: slice) -> NDArray[np.uint16]:
        """Return a copy of the ids from `place.start` to before `place.stop`, an array `[ids]`."""
        ids = self._range[place]
        number = int(np.searchsorted(self._ends, ids.start, side="right"))
        pieces, start = [], ids.start
        while start < ids.stop:
            first = int(self._ends[number - 1]) if number else 0
            count = min(ids.stop, int(self._ends[number])) - start
            pieces.append(np.fromfile(self._paths[number], TYPE, count, offset=(start - first) * TYPE.itemsize))
            start += len(pieces[-1])
            number += 1
        return np.concatenate(pieces) if pieces else np.empty(0, TYPE)

    def split(self, fraction: float) -> tuple[TokenMap, TokenMap]:
        """Return the first `fraction` of the ids, and the rest."""
        end = int(fraction * len(self))
        return self._part(slice(0, end)), self._part(slice(end, None))

    def _part(self, place: slice) -> TokenMap:
        part = object.__new__(TokenMap)
        part._paths, part._ends, part._range = self._paths, self._ends, self._range[place]
        return part
