"""`gpt app`: the page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.project import find_project


def page(
    models: Annotated[
        Path | None, typer.Option(help="Folder of the models; the project's models/ if not given.", metavar="DIR")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the address 127.0.0.1.")] = 7860,
) -> None:
    """Open a page to write, classify, instruct and look inside the models, for this machine only.

    Examples: `gpt app`, `gpt app --port 7861`, `gpt app --models ../other/models`.
    """
    folder = find_project() / "models" if models is None else models
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError:
        raise InputError(
            'gradio: expected this package, found none; install it with: pip install -e ".[app]"'
        ) from None
    from gpt_from_scratch.app.page import serve

    serve(folder, port)
