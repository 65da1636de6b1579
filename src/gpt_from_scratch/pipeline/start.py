"""The first lines of every stage script, for which the standard library is enough."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt_from_scratch.errors import InputError

_CURE = (
    "activate the project's environment (source .venv/bin/activate) or run make repro; "
    "dvc checkout brings back the outputs that DVC removed"
)


@contextmanager
def start(name: str, root: Path) -> Iterator[None]:
    """Check the parameters and pin the instruction set before a numerical library is imported, which takes seconds.

    The process ends with one line at errors that a user can correct, a missing package among them. Until the stage
    listens to signals itself, Ctrl-C ends it silently: there is nothing to save.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.version_info < (3, 11):  # noqa: UP036 - the Python that is found need not be the one that was asked for
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"{name}: error: expected Python 3.11 or later, found {found} ({sys.executable}): {_CURE}")
    try:
        os.chdir(root)
        from gpt_from_scratch.params.pins import pin_instructions, shorten_waits
        from gpt_from_scratch.params.sections import load_params

        shorten_waits()
        pin_instructions(load_params().runtime)
        gc.disable()  # until the stage begins: imports make no garbage, and looking for it takes a fifth of their time
        yield
    except ModuleNotFoundError as error:
        if str(error.name).startswith("gpt_from_scratch"):
            raise
        sys.exit(f"{name}: error: the package {error.name} is not installed for {sys.executable}: {_CURE}")
    except InputError as error:
        sys.exit(f"{in_group(name)}: error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"{in_group(name)}: error: {error.filename}: file not found")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.enable()


def end_of_imports() -> None:
    """Look for garbage again, but never among what the imports made: half a million objects that stay."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def in_group(name: str) -> str:
    """Return what this process calls itself: `pretrain`, or `pretrain[1]` for rank 1 of several processes."""
    rank = os.environ.get("RANK", "0")
    return name if rank == "0" else f"{name}[{rank}]"
