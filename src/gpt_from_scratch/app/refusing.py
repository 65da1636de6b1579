"""Errors that a user can mend, shown on the page as one line, while what an earlier run has shown is cleared."""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from gpt_from_scratch.errors import InputError


def run(
    event: Callable[..., Any],
    function: Callable[..., Any],
    inputs: Sequence[gr.components.Component],
    outputs: Sequence[gr.components.Component],
    **settings: Any,
) -> Any:
    """Let an event run a function or generator function whose `InputError` the page shows as its message, as text.

    Args:
        outputs: at least two; they then look as they did at first.
        settings: further ones of the event.
    """
    # Gradio's page ignores a `gr.update` of an HTML block whose next message is an error; a plain value it shows.
    blank = [
        gr.update(value=None, interactive=False) if isinstance(output, gr.DownloadButton) else output.value
        for output in outputs
    ]

    @functools.wraps(function)
    def steps(*args: Any) -> Iterator[Any]:
        try:
            if inspect.isgeneratorfunction(function):
                yield from function(*args)
            else:
                yield function(*args)
        except InputError as error:
            # Not by the event `failure`, which Stop would set off too.
            yield tuple(blank)
            raise gr.Error(html.escape(str(error), quote=False), title="Not possible", print_exception=False) from None

    return event(steps, inputs, outputs, **settings)
