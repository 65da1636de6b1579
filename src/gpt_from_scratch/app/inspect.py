"""The tab "look inside": tokens, how much each surprises the model, and where every attention head looks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
import torch

from gpt_from_scratch.app import limits, marking
from gpt_from_scratch.app.choosing import QUIET, choose
from gpt_from_scratch.app.refusing import run
from gpt_from_scratch.app.shelf import Shelf
from gpt_from_scratch.evaluation.inside import attention_maps, surprises
from gpt_from_scratch.model import GPTConfig

MOST_SURPRISE = 10.0
"""Nats from which on the colour is the deepest: a probability of 1 in 22,000."""


def build(shelf: Shelf, opened: list[Callable[..., Any]]) -> None:
    """Put the tab's controls into the page that is being built; `opened` are the events at which it comes to view."""
    go = gr.Button("Look inside", variant="primary", render=False)
    text = gr.Textbox(
        "The keeper of the light kept the keys, and the keeper kept the light.", label="Text to look into", lines=3
    )
    model = choose(shelf, "Model to look into", [*opened, go.click])
    go.render()
    by_id = gr.HTML(elem_id="by-id")
    by_surprise = gr.HTML(elem_id="by-surprise")
    attention = gr.HTML(elem_id="attention")
    with gr.Row():
        layer, head = _sliders(shelf, model.value)
    looks = gr.HTML(elem_id="looks")

    look = partial(views, shelf)
    inputs, outputs = [text, model, layer, head], [by_id, by_surprise, attention, looks]
    run(go.click, look, inputs, outputs, api_name="look", concurrency_id="model")
    for slider in (layer, head):
        again = {"trigger_mode": "always_last", "api_visibility": "private"}
        run(slider.input, look, inputs, outputs, concurrency_id="model", **again)

    run(model.change, partial(_sliders, shelf), [model], [layer, head], **{**QUIET, "queue": True})


def _sliders(shelf: Shelf, model: str | None) -> tuple[gr.Slider, gr.Slider]:
    """Return the choice of a layer and of a head for a model; None where there is no model yet."""
    config = GPTConfig(n_layers=1, n_heads=1) if model is None else shelf.config(model)

    def choice(most: int, label: str, info: str) -> gr.Slider:
        # Gradio wants two values at least; of one there is no choice.
        return gr.Slider(1, max(2, most), 1, step=1, label=label, info=info, buttons=[], interactive=most > 1)

    return (
        choice(config.n_layers, "Layer", "the first is next to the embeddings"),
        choice(config.n_heads, "Head", "of the layer"),
    )


def views(shelf: Shelf, text: str, model: str | None, layer: float, head: float) -> tuple[str, str, str, str]:
    """Return tokens coloured by id, tokens coloured by surprise, and one head's attention as a map and as a table.

    Raises:
        InputError: when an argument is out of its bounds, or the model is not there.
    """
    text = limits.checked_text(text, "Text to look into")
    loaded = shelf.language_model(model)
    config = loaded.model.config
    layer = limits.checked_whole(layer, "Layer", 1, config.n_layers)
    head = limits.checked_whole(head, "Head", 1, config.n_heads)
    all_ids = loaded.tokenizer.encode(text, disallowed_special=())
    ids = all_ids[: min(limits.TOKENS_INSIDE, config.context_length)]
    cut = f", the first {len(ids)} of {len(all_ids)}" if len(ids) < len(all_ids) else ""
    texts = marking.token_texts(loaded.tokenizer, ids)
    by_id = marking.tokens(
        f"Tokens and their ids{cut}", texts, [f"{token}" for token in ids], [marking.by_id(token) for token in ids]
    )
    nats = [None, *surprises(loaded.model, torch.tensor(ids)).tolist()]
    by_surprise = marking.tokens(
        f"How much each token surprises the model after those before it, in nats{cut}",
        texts,
        ["–" if value is None else f"{value:.1f}" for value in nats],
        [marking.heat((value or 0.0) / MOST_SURPRISE) for value in nats],
    )
    weights = attention_maps(loaded.model, torch.tensor(ids))
    title = f"Attention of layer {layer} of {config.n_layers}, head {head} of {config.n_heads}"
    chosen = weights[layer - 1, head - 1]
    rows = [(f"{n + 1} {texts[n]}", ", ".join(_looks_at(texts, line[: n + 1]))) for n, line in enumerate(chosen)]
    map_of_head = marking.heat_map(f"{title}: rows look at columns", texts, chosen)
    looks = marking.table(f"{title}: where each token looks most", ("Token", "looks at"), rows)
    return by_id, by_surprise, f'<div class="maps">{marking.overview(weights)}{map_of_head}</div>', looks


def _looks_at(texts: list[str], line: torch.Tensor) -> list[str]:
    """Return the up to three tokens that a token looks at most, with their shares."""
    shares, places = torch.topk(line, min(3, len(line)))
    return [
        f"{place + 1} {texts[place]} {share:.0%}" for share, place in zip(shares.tolist(), places.tolist(), strict=True)
    ]
