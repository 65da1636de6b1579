"""Limits of the page, whose users share two cores, and the checks that refuse what exceeds them in one sentence."""

from __future__ import annotations

import math

from gpt_from_scratch.errors import InputError

AT_ONCE = 2
"""Requests that models work on at a time; in addition one file is classified at a time."""
WAITING = 60
"""Requests that wait for their turn; further ones are refused."""
CHARACTERS = 2000
"""Longest text or prompt."""
STOP = 100
"""Longest text at which a continuation stops."""
NEW_TOKENS = 200
"""Most tokens that one request generates."""
TOKENS_INSIDE = 48
"""Most tokens on the tab "look inside": an attention map has as many rows and columns."""
FILE_BYTES = 1_000_000
FILE_MESSAGES = 6000
"""Largest file of messages; the SMS Spam Collection, half a million bytes, fits."""


def checked_text(text: str | None, name: str, most: int = CHARACTERS) -> str:
    """Return a text that is neither blank nor too long."""
    if not text or not text.strip():
        raise InputError(f"{name}: expected a text, found none")
    if len(text) > most:
        raise InputError(f"{name}: expected at most {most:,} characters, found {len(text):,}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # JSON can spell halves of a character
        raise InputError(f"{name}: expected Unicode text, found half of a pair") from None
    return text


def checked_whole(value: float | None, name: str, low: int, high: int) -> int:
    """Return a whole number within bounds."""
    return int(_checked(value, name, low, high, "a whole number"))


def checked_number(value: float | None, name: str, low: float, high: float) -> float:
    """Return a number within bounds."""
    return float(_checked(value, name, low, high, "a number"))


def _checked(value: float | None, name: str, low: float, high: float, kind: str) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high or (kind == "a whole number" and value != int(value)):
        found = "none" if value is None else value
        raise InputError(f"{name}: expected {kind} from {low} to {high}, found {found}")
    return value
