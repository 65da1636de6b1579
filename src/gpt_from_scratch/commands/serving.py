"""`gpt register`: the models for others to serve."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from gpt_from_scratch.pipeline.project import find_project


def register(
    promote: Annotated[bool, typer.Option(help="Make them the champions, whatever their figures.")] = False,
) -> None:
    """Register the three models in MLflow as they are now, unless that was done; the better one is the champion.

    Example, to serve one afterwards: mlflow models serve -m models:/spam-classifier@champion --env-manager local
    """
    from gpt_from_scratch.tracking.registry import register_models

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for line in register_models(find_project(), promote=promote):
        typer.echo(line)
