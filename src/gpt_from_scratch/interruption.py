"""Ctrl-C and SIGTERM as exceptions, which never come in the middle of something that must be whole."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
            _end(number)


def _receive(number: int, frame: FrameType | None) -> None:
    global _waiting
    del frame
    if _held:
        _waiting = number
    else:
        _end(number)


def _end(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
