"""`gpt report` and `gpt compare`: the results as one page, and beside another commit's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpt_from_scratch.pipeline.project import find_project


def report(
    out: Annotated[
        Path | None, typer.Option(help="The file to write; report.html in the project if not given.")
    ] = None,
) -> None:
    """Write the results as one page that holds all it needs, and that any browser opens without a server.

    Example: gpt report --out /tmp/results.html
    """
    from gpt_from_scratch.report.page import write_report
    from gpt_from_scratch.tracking.summary import attach_report

    root = find_project()
    path = out or root / "report.html"
    write_report(root, path)
    typer.echo(f"report: {path}")
    attach_report(root, path)


def compare(
    revision: Annotated[str, typer.Argument(help="A commit, branch or tag.")] = "HEAD",
) -> None:
    """Print metrics, parameters and curves beside those of a commit, as Markdown for a pull request.

    Example: gpt compare main
    """
    from gpt_from_scratch.report.comparison import comparison

    typer.echo(comparison(find_project(), revision))
