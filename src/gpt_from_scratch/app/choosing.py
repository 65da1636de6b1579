"""The choice of a language model by name, and the sentence on what a model is or why it is not there.

Both are renewed whenever a tab is opened or used, since a model may be trained while the page is open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr

from gpt_from_scratch.app import marking
from gpt_from_scratch.app.shelf import Shelf

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Settings of an event that does no work worth waiting for."""


def introduce(shelf: Shelf, name: str, renewing: Sequence[Callable[..., Any]]) -> None:
    """Put the sentence on a model into the page; the events `renewing` renew it."""
    text = partial(_text, shelf, name)
    gr.on(renewing, text, None, gr.HTML(text()), **QUIET)


def choose(shelf: Shelf, label: str, renewing: Sequence[Callable[..., Any]]) -> gr.Dropdown:
    """Put the choice of a language model into the page, with the sentence on the chosen one."""

    def renewed(chosen: str | None) -> tuple[gr.Dropdown, str]:
        names = shelf.language_models()
        value = chosen if chosen in names else next(iter(names), None)
        return gr.Dropdown(choices=_choices(shelf, names), value=value), _text(shelf, value)

    names = shelf.language_models()
    first = next(iter(names), None)
    model = gr.Dropdown(_choices(shelf, names), value=first, label=label, filterable=False)
    text = gr.HTML(_text(shelf, first))
    gr.on(renewing, renewed, model, [model, text], **QUIET)
    model.change(partial(_text, shelf), model, text, **QUIET)
    return model


def _choices(shelf: Shelf, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the models' titles and names; of models with one title, the folders too."""
    titles = [shelf.about(name).name for name in names]
    return [
        (title if titles.count(title) == 1 else f"{title} ({name})", name)
        for title, name in zip(titles, names, strict=True)
    ]


def _text(shelf: Shelf, name: str | None) -> str:
    return f'<p class="note">{marking.escaped(shelf.about(name or "pretrain").text)}</p>'
