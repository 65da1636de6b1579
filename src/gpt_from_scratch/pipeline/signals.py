"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal) as exceptions; delayed while something must be whole.

Trainings are handed this module as their `Signals`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_held = 0
_waiting: int | None = None


def listen() -> None:
    """Turn Ctrl-C into `KeyboardInterrupt`, the others into `SystemExit`, all delayed by `uninterrupted`.

    Half-written output is then removed, and the run closed, on the way out. Under nohup SIGHUP stays ignored.
    """
    for number in SIGNALS:
        if (number, signal.getsignal(number)) != (signal.SIGHUP, signal.SIG_IGN):
            signal.signal(number, _receive)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay a request to end until the block is left; of several requests the last counts.

    For the main thread, the only one that signals are handled in.
    """
    global _held, _waiting
    _held += 1
    try:
        yield
    finally:
        _held -= 1
        if not _held and _waiting is not None:
            number, _waiting = _waiting, None
            end(number)


def waiting() -> int:
    """Return the number of the signal that `uninterrupted` delays; 0 if none is delayed."""
    return _waiting or 0


def ignore() -> None:
    """Ignore requests to end from here on, and forget a delayed one."""
    global _waiting
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _waiting = None


def end(number: int) -> NoReturn:
    """Raise the exception of a signal."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _receive(number: int, frame: FrameType | None) -> None:
    global _waiting
    del frame
    if _held:
        _waiting = number
    else:
        end(number)
