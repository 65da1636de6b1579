"""Parameters in a file, set by name, whatever a profile's values are."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

import yaml


def set_params(path: Path, changes: dict[str, Any]) -> None:
    """Set parameters, such as `pretrain.optimizer.lr`, that the file has; its comments are lost."""
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = reduce(dict.__getitem__, sections, params)
        assert section[name] != value, f"{key} is {value} already"
        section[name] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
