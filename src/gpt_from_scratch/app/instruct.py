"""The tab "instruct": the answer, and the base model's to the same prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate, zip_longest
from typing import Any

import gradio as gr

from gpt_from_scratch.app import limits, marking
from gpt_from_scratch.app.choosing import introduce
from gpt_from_scratch.app.refusing import run
from gpt_from_scratch.app.shelf import INSTRUCT, Loaded, Shelf
from gpt_from_scratch.data.instructions.prompts import PromptStyle, Question, style_of
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation.answering import stream_answer

OURS, THEIRS = "The fine-tuned model's answer", "The base model's, to the same prompt"


def build(shelf: Shelf, opened: list[Callable[..., Any]]) -> None:
    """Put the tab's controls into the page that is being built; `opened` are the events at which it comes to view."""
    go = gr.Button("Answer", variant="primary", render=False)
    introduce(shelf, INSTRUCT, [*opened, go.click])
    with gr.Row(elem_classes="work"):
        with gr.Column(elem_classes="asked"):
            instruction = gr.Textbox("Rewrite the sentence in the passive voice.", label="Instruction", lines=2)
            entry_input = gr.Textbox("The keeper lights the lamp.", label="Input (may stay empty)", lines=2)
            with gr.Row():
                go.render()
                stop = gr.Button("Stop")
        with gr.Column(elem_classes="result"):
            answer = gr.HTML(marking.pane(OURS, ""), elem_id="answer")
            base = gr.HTML(marking.pane(THEIRS, ""), elem_id="base")
        with gr.Column(elem_classes="settings"):
            count = gr.Slider(1, limits.NEW_TOKENS, 40, step=1, label="Tokens", info="most in each answer", buttons=[])

    def instruct(instruction: str, entry_input: str, count: float) -> Iterator[tuple[str, str]]:
        answer = base = ""
        for answer, base in answer_pairs(shelf, instruction, entry_input, count):
            yield marking.pane(OURS, answer), marking.pane(THEIRS, base)
        yield marking.pane(OURS, answer, "Both have ended"), marking.pane(THEIRS, base)

    inputs = [instruction, entry_input, count]
    running = run(go.click, instruct, inputs, [answer, base], api_name="instruct", concurrency_id="model")
    stop.click(None, cancels=[running], api_visibility="private")


def answer_pairs(shelf: Shelf, instruction: str, entry_input: str | None, count: float) -> Iterator[tuple[str, str]]:
    """Yield the two growing answers, greedy as in the evaluation.

    Without the base model, the sentence that says so stands in its answer's place.

    Raises:
        InputError: when an argument is out of its bounds, the model for instructions is not there, or the instruction
            does not fit its context with the answer.
    """
    question = Question(
        instruction=limits.checked_text(instruction, "Instruction"),
        input=limits.checked_text(entry_input, "Input") if entry_input and entry_input.strip() else "",
    )
    count = limits.checked_whole(count, "Tokens", 1, limits.NEW_TOKENS)
    model = shelf.instruction_model()
    style = style_of(model.facts)
    ours = _texts(model, question, style, count)
    try:
        theirs = _texts(shelf.base_of_instruction_model(), question, style, count)
    except InputError as error:
        theirs = iter([str(error)])
    answer = base = ""
    for new_answer, new_base in zip_longest(ours, theirs):
        answer, base = new_answer or answer, new_base or base
        yield answer, base


def _texts(loaded: Loaded, question: Question, style: PromptStyle, count: int) -> Iterator[str]:
    """Yield the growing answer."""
    cure = "shorten it, or set Tokens lower"
    return accumulate(stream_answer(loaded.model, loaded.tokenizer, question, count, style, cure=cure))
