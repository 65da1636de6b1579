"""`gpt experiments`: the companion's studies, each run by one command and shown as one table."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from gpt_from_scratch.commands.models import check_output
from gpt_from_scratch.pipeline.project import find_project

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Name = Annotated[
    str, typer.Argument(help="A file in experiments/, without its ending; gpt experiments list names them.")
]
Setting = Annotated[
    bool | None,
    typer.Option(
        "--reduced/--full",
        help="A setting for two cores, or the published one. If not given: full where params.yaml has real weights.",
    ),
]


@app.callback()
def _experiments() -> None:
    """The companion's studies: run as DVC experiments, shown as a table beside the published figures."""


@app.command("list")
def list_studies() -> None:
    """List the studies and how many of their variants have results.

    Example: gpt experiments list
    """
    from gpt_from_scratch.experiments import studies

    for line in studies.overview(find_project()):
        typer.echo(line)


@app.command()
def run(
    study: Name,
    only: Annotated[list[str] | None, typer.Option(help="A variant; may be given several times.")] = None,
    reduced: Setting = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter to set over every variant, or a size."),
    ] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Work through DVC's queue, several at a time.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Variants at a time, with --queue.")] = 2,
    seeds: Annotated[int | None, typer.Option(min=2, help="Of the study seeds: how many; 5 if not given.")] = None,
) -> None:
    """Run a study. What has run with the same settings and code is not run again; failures are reported at the end.

    Examples: gpt experiments run classification; gpt experiments run classification --only lora --queue --jobs 2;
    gpt experiments run seeds --seeds 5
    """
    from gpt_from_scratch.experiments import studies
    from gpt_from_scratch.pipeline.signals import listen

    root = find_project()
    listen()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    lines, failed = studies.run(
        root, study, tuple(only or ()), reduced, tuple(change or ()), jobs if queue else 0, _say, seeds or 0
    )
    for line in lines:
        typer.echo(line)
    if failed:
        raise typer.Exit(1)


@app.command()
def table(
    study: Name,
    out: Annotated[Path | None, typer.Option(help="A Markdown file to write it into, too.")] = None,
) -> None:
    """Print a study's table, ours beside the published figures, and log it into MLflow.

    Example: gpt experiments table classification --out table.md
    """
    from gpt_from_scratch.experiments import studies
    from gpt_from_scratch.files.writing import write_text

    if out is not None:
        out = check_output(out)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    text = studies.show(find_project(), study)
    if out is not None:
        write_text(out, text + "\n")
    typer.echo(text)


@app.command()
def search(
    study: Annotated[str, typer.Argument(help="A study with a space.")] = "search",
    trials: Annotated[int, typer.Option(min=1, help="Of the whole search, those of earlier calls included.")] = 20,
    reduced: Setting = None,
) -> None:
    """Search for hyper-parameters with Optuna, each trial a DVC experiment; a search that was ended goes on.

    Example: gpt experiments search --trials 20
    """
    from gpt_from_scratch.experiments import studies
    from gpt_from_scratch.pipeline.signals import listen

    listen()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for line in studies.search(find_project(), study, trials, reduced, _say):
        typer.echo(line)


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
