"""Answering instructions (chapter 7): the one path of evaluation, commands, page and served model.

As in the book, the prompt ends before the response's header: the model generates the header itself, and it is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gpt_from_scratch.data.instructions.conversations import turns_of
from gpt_from_scratch.data.instructions.prompts import (
    PromptStyle,
    Question,
    format_prompt,
    response_header,
    settled,
    without_header,
)
from gpt_from_scratch.generation.engine import generate_each
from gpt_from_scratch.generation.sampling import GREEDY, Sampling
from gpt_from_scratch.generation.stopping import text_of, until_stop
from gpt_from_scratch.generation.stream import stream_text
from gpt_from_scratch.generation.text import check_room, encode

if TYPE_CHECKING:
    from tiktoken import Encoding

    from gpt_from_scratch.model import GPTModel


def prompt_ids(tokenizer: Encoding, question: Question, style: PromptStyle) -> list[int]:
    """Return the token ids of a prompt, a conversation's earlier turns included, up to the response's header."""
    earlier = turns_of(question)[:-1]
    before = [token for turn in earlier for token in turn_ids(tokenizer, turn, turn["output"], style)]
    return [*before, *encode(tokenizer, format_prompt(question, style))]


def turn_ids(tokenizer: Encoding, question: Question, answer: str, style: PromptStyle) -> list[int]:
    """Return the token ids of a question with its answer as the model was trained to see them, end of text included."""
    text = format_prompt(question, style) + response_header(style) + answer
    return [*encode(tokenizer, text), tokenizer.eot_token]


def check_question(
    model: GPTModel,
    tokenizer: Encoding,
    question: Question,
    max_new_tokens: int,
    style: PromptStyle,
    *,
    before: Sequence[int] = (),
    name: str = "instruction",
    cure: str = "shorten it",
) -> list[int]:
    """Return the token ids of a prompt, after those of earlier turns, if the answer fits the model's context with it.

    Raises:
        InputError: as `check_room` does; `name` and `cure` are its own.
    """
    prompt = [*before, *prompt_ids(tokenizer, question, style)]
    check_room(prompt, max_new_tokens, model.config.context_length, name=name, cure=cure, answer=True)
    return prompt


def answers(
    model: GPTModel,
    tokenizer: Encoding,
    questions: Sequence[Question],
    max_new_tokens: int,
    batch_size: int,
    progress: Callable[[int], object] = lambda done: None,
    style: PromptStyle = "alpaca",
) -> list[str]:
    """Answer many questions greedily.

    Args:
        batch_size: questions that are answered at a time; an answer that has ended makes room for the next.
        progress: is told how many further questions are done.
        style: how the model was taught that an instruction is written; see `style_of`.

    Raises:
        InputError: for a question that does not fit the model's context with its answer.
    """
    prompts = [
        check_question(
            model, tokenizer, question, max_new_tokens, style, name=f"instruction {number} of {len(questions)}"
        )
        for number, question in enumerate(questions, start=1)
    ]
    # Prompts that are read together are padded to the longest of them.
    by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    in_order = [prompts[number] for number in by_length]
    texts = [""] * len(prompts)
    for place, ids in generate_each(model, in_order, max_new_tokens, eos_id=tokenizer.eot_token, batch_size=batch_size):
        texts[by_length[place]] = without_header(text_of(tokenizer, ids), style)
        progress(1)
    return texts


def stream_answer(
    model: GPTModel,
    tokenizer: Encoding,
    question: Question,
    max_new_tokens: int,
    style: PromptStyle,
    sampling: Sampling = GREEDY,
    *,
    before: Sequence[int] = (),
    cure: str = "shorten it",
) -> Iterator[str]:
    """Answer a question and yield the answer piece by piece; joined, the pieces are what `answers` returns.

    Args:
        sampling: its stop strings are looked for in the answer, not in the header, which has line ends.
        before: token ids of earlier turns, which the prompt follows; see `turn_ids`.
        cure: what to do about a question that does not fit.

    Raises:
        InputError: for a question that does not fit the model's context with its answer.
    """
    prompt = check_question(model, tokenizer, question, max_new_tokens, style, before=before, cure=cure)
    pieces = stream_text(model, tokenizer, prompt, max_new_tokens, replace(sampling, stop=()))
    yield from until_stop(_without_header(pieces, style), sampling.stop)


def _without_header(pieces: Iterator[str], style: PromptStyle) -> Iterator[str]:
    text, sent = "", 0
    for piece in pieces:
        text += piece
        ready = settled(text, style)
        if len(ready) > sent:
            yield ready[sent:]
            sent = len(ready)
    if rest := without_header(text, style)[sent:]:
        yield rest
