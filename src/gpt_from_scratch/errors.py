"""The one kind of error that a user can mend, and how its message shows what came in."""

from __future__ import annotations

import reprlib


class InputError(ValueError):
    """Invalid input: a file, a parameter, a download or a checkpoint that cannot be used.

    The message is one sentence that names the file or key, the place, what was expected and what was found.
    Stages and the command print it alone, without a traceback, and end with exit code 1.
    """


class _Short(reprlib.Repr):
    """Looks at no more of a value than it shows."""

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if abs(x) < 10**40 else f"a number of {x.bit_length()} bits"  # Python refuses to write longer


_SHORT = _Short()
_SHORT.maxlevel = 2
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxdict = 4
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: object) -> str:
    """Return a value as a message shows it: on one line, and short however large or deep the value is."""
    return _cut(_SHORT.repr(value), 120)


def named(name: str) -> str:
    """Return a name from a file as a message shows it: as `shown` does, without quotes."""
    return shown(name)[1:-1]


def reason(error: BaseException) -> str:
    """Return what a library says of an error: on one line, and short."""
    return _cut(" ".join(str(error).split()), 300)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
