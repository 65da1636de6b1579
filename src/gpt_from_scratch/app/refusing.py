"""Errors that a user can mend, shown on the page as one line in place of a result."""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from gpt_from_scratch.app.choosing import QUIET
from gpt_from_scratch.errors import InputError


def run(
    event: Callable[..., Any],
    function: Callable[..., Any],
    inputs: list[gr.components.Component],
    outputs: list[gr.components.Component],
    **settings: Any,
) -> Any:
    """Let an event run a `refusing` function; an error clears what an earlier run has shown.

    Args:
        outputs: at least two.
        settings: further ones of the event.
    """
    blank = [
        gr.update(value=None, interactive=False) if isinstance(output, gr.DownloadButton) else output.value
        for output in outputs
    ]
    running = event(refusing(function), inputs, outputs, **settings)
    running.failure(lambda: blank, None, outputs, **QUIET)
    return running


def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function or generator function whose `InputError` the page shows as its message, as text."""
    if not inspect.isgeneratorfunction(function):
        return _refusals()(function)

    @functools.wraps(function)
    def steps(*args: Any) -> Iterator[Any]:
        with _refusals():
            yield from function(*args)

    return steps


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise gr.Error(html.escape(str(error), quote=False), title="Not possible", print_exception=False) from None
