"""The lookup of a value in nested mappings by a dotted key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def at(content: Any, key: str) -> Any:
    """Return the value under a key such as `final.train_loss`; None where there is none."""
    for part in key.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content
