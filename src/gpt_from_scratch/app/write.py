"""The tab "write": a text is continued token by token, with the probabilities that each token was chosen by."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import gradio as gr
import torch

from gpt_from_scratch.app import limits, marking
from gpt_from_scratch.app.refusing import refusing
from gpt_from_scratch.app.shelf import Loaded, Shelf
from gpt_from_scratch.generation.sampling import Sampling, token_probabilities
from gpt_from_scratch.generation.stream import stream_steps
from gpt_from_scratch.generation.text import check_room, encode

BARS = 10


def build(shelf: Shelf) -> None:
    """Put the tab's controls into the page that is being built."""
    names = shelf.language_models()
    if not names:
        gr.Markdown(f"No language model here yet. {shelf.missing('pretrain')}")
        return
    with gr.Row():
        with gr.Column():
            prompt = gr.Textbox("Every effort moves you", label="Prompt", lines=3, max_length=limits.CHARACTERS)
            model = gr.Dropdown(names, value=names[0], label="Model", filterable=False)
            temperature = gr.Slider(
                0, 2, 1.0, step=0.1, label="Temperature", info="0: always the likeliest token", buttons=[]
            )
            top_k = gr.Slider(0, 200, 40, step=1, label="Top-k", info="draw among this many; 0: among all", buttons=[])
            count = gr.Slider(1, limits.NEW_TOKENS, 60, step=1, label="Tokens", info="most that are added", buttons=[])
            seed = gr.Number(1, label="Seed", precision=0, minimum=0, maximum=2**32 - 1, info="same seed, same text")
            with gr.Row():
                go = gr.Button("Write", variant="primary")
                stop = gr.Button("Stop")
        with gr.Column():
            text = gr.HTML(marking.pane("Text", ""), elem_id="written")
            chosen = gr.HTML(elem_id="chosen")

    write = refusing(partial(continuations, shelf))
    inputs = [prompt, model, temperature, top_k, count, seed]
    running = go.click(write, inputs, [text, chosen], api_name="write", concurrency_id="model")
    stop.click(None, cancels=[running], api_visibility="private")


def continuations(
    shelf: Shelf, prompt: str, model: str, temperature: float, top_k: float, count: float, seed: float
) -> Iterator[tuple[str, str]]:
    """Yield the growing text and the bars of its last token, as HTML.

    Args:
        top_k: 0 for all tokens.

    Raises:
        InputError: when an argument is out of its bounds, the model is not there, or the prompt is longer than its
            context.
    """
    prompt = limits.checked_text(prompt, "Prompt")
    temperature = limits.checked_number(temperature, "Temperature", 0, 2)
    top_k = limits.checked_whole(top_k, "Top-k", 0, 200)
    count = limits.checked_whole(count, "Tokens", 1, limits.NEW_TOKENS)
    seed = limits.checked_whole(seed, "Seed", 0, 2**32 - 1)
    loaded = shelf.language_model(model)
    ids = encode(loaded.tokenizer, prompt)
    check_room(ids, count, loaded.model.config.context_length, name="Prompt")
    sampling = Sampling(temperature, top_k or None, seed)
    steps = stream_steps(loaded.model, loaded.tokenizer, ids, count, sampling)
    text = prompt
    for number, step in enumerate(steps, start=1):
        text += step.text
        probabilities = token_probabilities(step.logits[None], sampling)[0]
        note = f"{number} tokens written" if step.last else ""
        yield marking.pane("Text", text, note), token_bars(loaded, probabilities, step.token)


def token_bars(loaded: Loaded, probabilities: torch.Tensor, chosen: int) -> str:
    """Return the likeliest tokens as bars, with the one that was chosen.

    Args:
        probabilities: of every token, `[vocab_size]`.
    """
    likeliest = torch.topk(probabilities, min(BARS, len(probabilities))).indices.tolist()
    if chosen not in likeliest:
        likeliest[-1] = chosen
    names = marking.token_texts(loaded.tokenizer, likeliest)
    rows = [(name, float(probabilities[token])) for name, token in zip(names, likeliest, strict=True)]
    return marking.bars("What the last token was chosen from", rows, likeliest.index(chosen))
