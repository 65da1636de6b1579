"""Nested mappings by joined keys: the lookup of one value, and all leaves at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any


def at(content: Any, key: str, separator: str = ".") -> Any:
    """Return the value under a key such as `final.train_loss`; None where there is none."""
    for part in key.split(separator):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def flatten(content: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Return the leaves of nested mappings under joined keys, those nearest to the root first; a list is a leaf."""
    leaves: dict[str, Any] = {}
    waiting = deque([("", content)])
    while waiting:
        prefix, mapping = waiting.popleft()
        for key, value in mapping.items():
            if isinstance(value, Mapping):
                waiting.append((f"{prefix}{key}{separator}", value))
            else:
                leaves[f"{prefix}{key}"] = value
    return leaves
