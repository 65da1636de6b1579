"""Errors that a user can mend, shown on the page as one line in place of a result."""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr

from gpt_from_scratch.errors import InputError


def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function or generator function whose `InputError` the page shows as its message, as text."""

    def refusal(error: InputError) -> gr.Error:
        return gr.Error(html.escape(str(error), quote=False), title="Not possible", print_exception=False)

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def steps(*args: Any) -> Any:
            try:
                yield from function(*args)
            except InputError as error:
                raise refusal(error) from None

        return steps

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except InputError as error:
            raise refusal(error) from None

    return call
