"""The first lines of every stage script, for which the standard library is enough."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CURE = (
    "activate the project's environment (source .venv/bin/activate) or run make repro; "
    "dvc checkout brings back the outputs that DVC removed"
)


@contextmanager
def start(name: str, root: Path) -> Iterator[None]:
    """Pin the instruction set before a numerical library is imported; end with one line where a package is missing.

    Until the stage listens to signals itself, Ctrl-C ends it silently: there is nothing to save.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.version_info < (3, 11):  # noqa: UP036 - the Python that is found need not be the one that was asked for
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"{name}: error: expected Python 3.11 or later, found {found} ({sys.executable}): {_CURE}")
    try:
        from gpt_from_scratch.params.pins import pin_instructions, shorten_waits

        shorten_waits()
        pin_instructions(root)
        yield
    except ModuleNotFoundError as error:
        if str(error.name).startswith("gpt_from_scratch"):
            raise
        sys.exit(f"{name}: error: the package {error.name} is not installed for {sys.executable}: {_CURE}")
    except KeyboardInterrupt:
        sys.exit(130)
