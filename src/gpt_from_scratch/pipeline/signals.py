"""Ctrl-C and SIGTERM as exceptions, which never come in the middle of something that must be whole."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_held = 0
_waiting: int | None = None


def listen() -> None:
    """Turn Ctrl-C into `KeyboardInterrupt` and SIGTERM into `SystemExit`, both delayed by `uninterrupted`.

    Half-written output is then removed, and the run closed, on the way out.
    """
    for number in SIGNALS:
        signal.signal(number, _receive)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a request to end wait until the block is left; of several requests the last counts.

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
    """Return the number of the signal that waits for the end of `uninterrupted`; 0 if none does."""
    return _waiting or 0


def ignore() -> None:
    """Hear no request to end from here on, and forget one that waits."""
    global _waiting
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _waiting = None


def end(number: int) -> NoReturn:
    """Raise what a signal is turned into."""
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
