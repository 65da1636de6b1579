"""Conversations in the chat format (`messages` of `role` and `content`), or in ShareGPT's (`conversations`).

A conversation is read as the entry of its last turn: the user's message is the `instruction`, the assistant's the
`output`. The turns before stand in `earlier_turns`, a system message in the first turn's `system_message`; without
either, the entry is that of the same instruction. Further keys are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpt_from_scratch.errors import InputError, shown

OWN_KEYS = ("earlier_turns", "system_message")
_CHATS = ("messages", "conversations")
_ROLES = {"human": "user", "gpt": "assistant"}
"""ShareGPT's names."""
_FOLLOWING = {"": ("system", "user"), "system": ("user",), "user": ("assistant",), "assistant": ("user",)}


def is_conversation(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry is a conversation; one with an `output` is an instruction, whatever else it has."""
    return "output" not in entry and any(key in entry for key in _CHATS)


def turns_of(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the turns of an entry in order; the last, or only, is itself."""
    return [*entry.get("earlier_turns", ()), entry]


def read_conversation(entry: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return a conversation as the entry of its last turn.

    The messages are the user's and the assistant's by turns, up to one of the assistant; the system's may be first.

    Args:
        place: the entry's, for errors.

    Raises:
        InputError: naming the message (from 1) that is wrong.
    """
    (key, *_) = (key for key in _CHATS if key in entry)
    messages = entry[key]
    if not isinstance(messages, list) or not messages:
        raise InputError(f"{place}, {key}: expected a list of messages with role and content, found {shown(messages)}")
    turns: list[dict[str, Any]] = []
    before, system = "", {}
    for number, message in enumerate(messages, start=1):
        before, text = _read_message(message, before, f"{place}, message {number}")
        if before == "system":
            system = {"system_message": text}
        elif before == "user":
            turns.append({"instruction": text, "input": "", **system})
            system = {}
        else:
            turns[-1]["output"] = text
    if before != "assistant":
        raise InputError(f"{place}, message {len(messages)}: expected an assistant's as the last, found {before}'s")
    *earlier, last = turns
    further = {name: value for name, value in entry.items() if name != key}
    return {**further, **last, **({"earlier_turns": earlier} if earlier else {})}


def _read_message(message: Any, before: str, place: str) -> tuple[str, str]:
    """Return role and text of the message after one of the role `before`."""
    if not isinstance(message, dict):
        raise InputError(f"{place}: expected an object with role and content, found {shown(message)}")
    role, text = (message.get(name, message.get(other)) for name, other in (("role", "from"), ("content", "value")))
    role = _ROLES.get(role, role) if isinstance(role, str) else role
    if role not in _FOLLOWING[before]:
        after = f" after {before}" if before else ""
        raise InputError(f"{place}, role: expected {' or '.join(_FOLLOWING[before])}{after}, found {shown(role)}")
    if not isinstance(text, str) or not text.strip():
        found = "an empty one" if isinstance(text, str) else shown(text)
        raise InputError(f"{place}, content: expected a text, found {found}")
    return role, text
