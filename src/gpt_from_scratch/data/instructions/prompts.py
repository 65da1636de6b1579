"""The prompt of an instruction in the two styles of chapter 7: Alpaca's (section 7.2), and Phi-3's (exercise 7.1).

A conversation is its turns one after another, each with a whole prompt, its response and the end of the text. A system
message precedes the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from gpt_from_scratch.errors import InputError, shown

PromptStyle = Literal["alpaca", "phi3"]

FACT = "prompt_style"
"""The fact of a model folder that names the style that the model was trained with; it is left out for Alpaca's."""


class Question(TypedDict):
    """An instruction without its answer; `input` may be empty.

    That of a conversation is its last; it has `earlier_turns`, each with its `output`. The first turn may have a
    `system_message`. See `conversations`.
    """

    instruction: str
    input: str


@dataclass(frozen=True)
class _Style:
    """The texts before and after a system message, before the instruction, before an input, and before the response."""

    system: tuple[str, str]
    opening: str
    input_header: str
    response_header: str


_STYLES: dict[PromptStyle, _Style] = {
    "alpaca": _Style(
        ("", "\n\n"),
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\n",
        "\n\n### Input:\n",
        "\n\n### Response:\n",
    ),
    # As the companion's solution of exercise 7.1 spells it, colon included.
    "phi3": _Style(("<|system|>\n", "\n"), "<|user|>\n", "\n", "\n<|assistant|>:\n"),
}


def format_prompt(entry: Question, style: PromptStyle = "alpaca") -> str:
    """Return an entry's own turn up to where the response with its header begins."""
    words = _STYLES[style]
    prompt = words.opening + entry["instruction"]
    if system := entry.get("system_message"):
        prompt = system.join(words.system) + prompt
    return f"{prompt}{words.input_header}{entry['input']}" if entry["input"] else prompt


def response_header(style: PromptStyle = "alpaca") -> str:
    """Return the text between prompt and response."""
    return _STYLES[style].response_header


def without_header(text: str, style: PromptStyle = "alpaca") -> str:
    """Return a generated answer without the header, which the model generates itself."""
    return text.replace(response_header(style).strip(), "").strip()


def settled(text: str, style: PromptStyle = "alpaca") -> str:
    """Return the beginning of `without_header` that stays the same however the text goes on."""
    mark = response_header(style).strip()
    open_end = next((size for size in range(len(mark) - 1, 0, -1) if text.endswith(mark[:size])), 0)
    return without_header(text[: len(text) - open_end], style)


def style_of(facts: Mapping[str, Any]) -> PromptStyle:
    """Return the style that a model was trained with, by the facts of its folder.

    Raises:
        InputError: when the facts name a style that does not exist.
    """
    style = facts.get(FACT, "alpaca")
    if not (isinstance(style, str) and style in _STYLES):
        raise InputError(f"{FACT} of the model: expected {' or '.join(_STYLES)}, found {shown(style)}")
    return style
