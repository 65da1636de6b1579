"""How an instruction is written for the model, in the two styles of chapter 7: Alpaca's (section 7.2), and Phi-3's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from gpt_from_scratch.errors import InputError, shown

PromptStyle = Literal["alpaca", "phi3"]

FACT = "prompt_style"
"""The fact of a model folder that names the style that the model was taught, where it is not Alpaca's."""


class Question(TypedDict):
    """What a model is asked; `input` may be empty."""

    instruction: str
    input: str


@dataclass(frozen=True)
class _Style:
    """What stands before the instruction, before an input, and before the response."""

    opening: str
    input_header: str
    response_header: str


_STYLES: dict[PromptStyle, _Style] = {
    "alpaca": _Style(
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\n",
        "\n\n### Input:\n",
        "\n\n### Response:\n",
    ),
    # As the companion's solution of exercise 7.1 spells it, colon included.
    "phi3": _Style("<|user|>\n", "\n", "\n<|assistant|>:\n"),
}


def format_prompt(entry: Question, style: PromptStyle = "alpaca") -> str:
    """Return an entry up to where the response with its header begins."""
    words = _STYLES[style]
    prompt = words.opening + entry["instruction"]
    return f"{prompt}{words.input_header}{entry['input']}" if entry["input"] else prompt


def response_header(style: PromptStyle = "alpaca") -> str:
    """Return what stands between prompt and response."""
    return _STYLES[style].response_header


def without_header(text: str, style: PromptStyle = "alpaca") -> str:
    """Return a written answer without the header, which the model writes itself."""
    return text.replace(response_header(style).strip(), "").strip()


def style_of(facts: Mapping[str, Any]) -> PromptStyle:
    """Return the style that a model was taught, by the facts of its folder.

    Raises:
        InputError: when the facts name a style that does not exist.
    """
    style = facts.get(FACT, "alpaca")
    if not (isinstance(style, str) and style in _STYLES):
        raise InputError(f"{FACT} of the model: expected {' or '.join(_STYLES)}, found {shown(style)}")
    return style
