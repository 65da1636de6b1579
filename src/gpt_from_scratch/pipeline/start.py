"""The first lines of every stage script, for which the standard library is enough."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OLD_OUTPUTS = "DVC has removed this stage's outputs; dvc checkout brings the last ones back"


@contextmanager
def start(name: str, root: Path) -> Iterator[None]:
    """Pin the instruction set before a numerical library is imported; end with one line where a package is missing.

    Args:
        name: the stage's, as in dvc.yaml.
        root: the project's folder.
    """
    try:
        if not sys.version_info[:2] >= (3, 11):
            raise ModuleNotFoundError(name="Python 3.11")
        from gpt_from_scratch.params.pins import pin_instructions

        pin_instructions(root)
        yield
    except ModuleNotFoundError as error:
        if str(error.name).startswith("gpt_from_scratch"):
            raise
        sys.exit(
            f"{name}: error: {error.name} is not installed for {sys.executable}: activate the project's environment "
            f"(source .venv/bin/activate) or run make repro. {_OLD_OUTPUTS}"
        )
    except KeyboardInterrupt:
        sys.exit(130)
