"""Reading the file that `instruct.data` names: instructions with answers, or with preference pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gpt_from_scratch.data.instructions.conversations import is_conversation
from gpt_from_scratch.data.instructions.entries import read_entries, split_entries
from gpt_from_scratch.data.instructions.preferences import read_preferences
from gpt_from_scratch.data.raw.files import named_file
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import read_list

if TYPE_CHECKING:
    from gpt_from_scratch.params.trainings import Instruct

Objective = Literal["answers", "preferences"]
_KEYS: dict[Objective, tuple[str, ...]] = {"answers": ("output",), "preferences": ("chosen", "rejected")}


def read_parts(raw: Path, params: Instruct) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the training, test and validation entries of `instruct.data`, see `split_entries`.

    Args:
        raw: the folder data/raw.

    Raises:
        InputError: as `named_file`, `read_instructions` and `split_entries` do.
    """
    entries = read_instructions(named_file(raw, params.data), params.objective, empty_answers=not params.is_book)
    return split_entries(entries, params.train_fraction, params.test_fraction)


def read_instructions(path: Path, objective: Objective, *, empty_answers: bool = False) -> list[Any]:
    """Read the entries that an objective learns from, in file order.

    Every entry has an `output`, the reference for an answer; that of a preference pair is the chosen answer.

    Args:
        objective: see `instruct.objective`.
        empty_answers: let an `output` be empty, see `read_entries`.

    Raises:
        InputError: naming the entry and the key that is wrong; or both objectives, when the file is the other's.
    """
    try:
        if objective == "answers":
            return read_entries(path, empty_answers=empty_answers)
        return [{**entry, "output": entry["chosen"]} for entry in read_preferences(path)]
    except InputError:
        others = objectives_of(path)
        if not others or objective in others:
            raise
    raise InputError(
        f"{path}: expected {' and '.join(_KEYS[objective])} in each entry (instruct.objective is {objective}), found "
        f"{' and '.join(_KEYS[others[0]])}: set instruct.data to another file, or instruct.objective to {others[0]}"
    )


def objectives_of(path: Path) -> list[Objective]:
    """Return the objectives whose keys the first entry of a file has; a conversation has answers.

    Raises:
        InputError: when it is no JSON.
    """
    content = read_list(path)
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict):
        return []
    return ["answers"] if is_conversation(first) else [name for name in _KEYS if first.keys() >= set(_KEYS[name])]
