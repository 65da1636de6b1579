"""The tab "write": a text is continued token by token; any new token shows the probabilities that it was drawn by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import torch

from gpt_from_scratch.app import limits, marking
from gpt_from_scratch.app.choosing import QUIET, choose
from gpt_from_scratch.app.refusing import run
from gpt_from_scratch.app.shelf import Loaded, Shelf
from gpt_from_scratch.commands.write import fit_prompt
from gpt_from_scratch.generation.sampling import Sampling, token_probabilities
from gpt_from_scratch.generation.stream import stream_steps

BARS = 10


def build(shelf: Shelf, opened: list[Callable[..., Any]]) -> None:
    """Put the tab's controls into the page that is being built; `opened` are the events at which it comes to view."""
    go = gr.Button("Write", variant="primary", render=False)
    with gr.Row(elem_classes="work"):
        with gr.Column(elem_classes="asked"):
            prompt = gr.Textbox("Every effort moves you", label="Prompt", lines=3)
            model = choose(shelf, "Model", [*opened, go.click])
            with gr.Row():
                go.render()
                stop = gr.Button("Stop")
        with gr.Column(elem_classes="result"):
            # The one script: a choice among the tokens, whose list is renewed with every token, is told to the server.
            told = "element.addEventListener('change', e => trigger('select', {token: Number(e.target.value)}))"
            text = gr.HTML(marking.continuation("", [], []), elem_id="written", js_on_load=told)
            chosen = gr.HTML("", elem_id="chosen")
            every = gr.State([])
        with gr.Column(elem_classes="settings"):
            temperature = gr.Slider(
                0, 2, 1.0, step=0.1, label="Temperature", info="0: always the likeliest token", buttons=[]
            )
            top_k = gr.Slider(0, 200, 40, step=1, label="Top-k", info="draw among this many; 0: among all", buttons=[])
            count = gr.Slider(1, limits.NEW_TOKENS, 60, step=1, label="Tokens", info="most that are added", buttons=[])
            seed = gr.Number(1, label="Seed", precision=0, minimum=0, maximum=2**32 - 1, info="same seed, same text")
            cut = gr.Checkbox(label="Cut longer texts", info="keep the end of a prompt that the model cannot see whole")
            with gr.Accordion("More", open=False):
                seldom = [
                    gr.Slider(
                        0, 1, 1.0, step=0.01, label="Top-p", info="fewest tokens of this share; 1: all", buttons=[]
                    ),
                    gr.Slider(
                        0, 1, 0.0, step=0.01, label="Min-p", info="times the likeliest's share; 0: all", buttons=[]
                    ),
                    gr.Slider(
                        1, 2, 1.0, step=0.05, label="Repetition penalty", info="1: repeat as it comes", buttons=[]
                    ),
                    gr.Textbox("", label="Stop at", info="text that ends the continuation", max_length=limits.STOP),
                ]

    def write(prompt: str, model: str, *chosen: Any) -> Iterator[tuple[str, str, list[str]]]:
        temperature, top_k, count, seed, cut, *others = chosen
        yield from continuations(shelf, prompt, model, sampling_of(temperature, top_k, seed, *others), count, cut)

    inputs = [prompt, model, temperature, top_k, count, seed, cut, *seldom]
    running = run(go.click, write, inputs, [text, chosen, every], api_name="write", concurrency_id="model")
    stop.click(None, cancels=[running], api_visibility="private")
    text.select(_bars_of, [every], [chosen], **QUIET)


def _bars_of(every: list[str], choice: gr.EventData) -> str:
    """Return the bars of the token that was chosen on the page."""
    return every[choice.token]


def sampling_of(
    temperature: float,
    top_k: float,
    seed: float,
    top_p: float = 1.0,
    min_p: float = 0.0,
    penalty: float = 1.0,
    stop: str | None = "",
) -> Sampling:
    """Return the settings that were chosen on the page; `top_k` 0 and an empty `stop` stand for none.

    Raises:
        InputError: when one is out of its bounds.
    """
    return Sampling(
        limits.checked_number(temperature, "Temperature", 0, 2),
        limits.checked_whole(top_k, "Top-k", 0, 200) or None,
        limits.checked_whole(seed, "Seed", 0, 2**32 - 1),
        limits.checked_number(top_p, "Top-p", 0, 1),
        limits.checked_number(min_p, "Min-p", 0, 1),
        limits.checked_number(penalty, "Repetition penalty", 1, 2),
        (limits.checked_text(stop, "Stop at", limits.STOP),) if stop else (),
    )


def continuations(
    shelf: Shelf, prompt: str, model: str | None, sampling: Sampling, count: float, cut: bool
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the growing text, the bars of its last token and those of all its tokens, as HTML.

    Args:
        cut: keep the end of a prompt that is longer than the model's context.

    Raises:
        InputError: when an argument is out of its bounds, the model is not there, or the prompt is longer than its
            context and not to be cut.
    """
    prompt = limits.checked_text(prompt, "Prompt")
    count = limits.checked_whole(count, "Tokens", 1, limits.NEW_TOKENS)
    loaded = shelf.language_model(model)
    cure = "shorten it, or keep its end with Cut longer texts"
    ids, note = fit_prompt(prompt, loaded.model, loaded.tokenizer, count, cut=bool(cut), name="Prompt", cure=cure)
    texts: list[str] = []
    tokens: list[int] = []
    every: list[str] = []
    for number, step in enumerate(stream_steps(loaded.model, loaded.tokenizer, ids, count, sampling), start=1):
        texts.append(step.text)
        tokens.append(step.token)
        every.append(token_bars(loaded, token_probabilities(step.logits[None], sampling)[0], step.token, number))
        said = [note, f"{number} tokens written" if step.last else ""]
        names = marking.token_texts(loaded.tokenizer, tokens)
        yield marking.continuation(prompt, texts, names, "; ".join(filter(None, said))), every[-1], every


def token_bars(loaded: Loaded, probabilities: torch.Tensor, chosen: int, number: int) -> str:
    """Return the likeliest tokens as bars, with the one that was chosen.

    Args:
        probabilities: of every token, `[vocab_size]`.
        number: of the new token, from 1.
    """
    likeliest = torch.topk(probabilities, min(BARS, len(probabilities))).indices.tolist()
    if chosen not in likeliest:
        likeliest[-1] = chosen
    names = marking.token_texts(loaded.tokenizer, likeliest)
    rows = [(name, float(probabilities[token])) for name, token in zip(names, likeliest, strict=True)]
    return marking.bars(f"What new token {number} was chosen from", rows, likeliest.index(chosen))
