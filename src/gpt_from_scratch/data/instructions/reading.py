"""Reading the file that `instruct.data` names: instructions with answers, or with preference pairs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

from gpt_from_scratch.data.instructions.entries import read_entries
from gpt_from_scratch.data.instructions.preferences import read_preferences
from gpt_from_scratch.errors import InputError

_HOLDS = {"answers": "output", "preferences": "chosen and rejected"}


def read_instructions(
    path: Path, objective: Literal["answers", "preferences"], *, empty_answers: bool = False
) -> list[Any]:
    """Read the entries that an objective learns from, in file order.

    Every entry has an `output`, the reference for an answer; that of a preference pair is the chosen answer.

    Args:
        objective: see `instruct.objective`.
        empty_answers: let an `output` be empty, see `read_entries`.

    Raises:
        InputError: naming the entry and the key that is wrong; or both objectives, when the file is the other's.
    """
    readers = {
        "answers": partial(read_entries, path, empty_answers=empty_answers),
        "preferences": partial(_read_pairs, path),
    }
    try:
        return readers.pop(objective)()
    except InputError as error:
        ((other, read),) = readers.items()
        try:
            read()
        except InputError:
            raise error from None
    raise InputError(
        f"{path}: expected {_HOLDS[objective]} in each entry (instruct.objective is {objective}), found "
        f"{_HOLDS[other]}: set instruct.data to another file, or instruct.objective to {other}"
    )


def _read_pairs(path: Path) -> list[Any]:
    return [{**entry, "output": entry["chosen"]} for entry in read_preferences(path)]
