"""`gpt data`: looking at data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gpt_from_scratch.pipeline.project import find_project

app = typer.Typer(no_args_is_help=True, help="Look at data sets before a model is trained on them.")


@app.callback()
def _data() -> None:
    """Without a second command, typer would take `check` for this one's argument."""


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="Instructions (.json), labelled texts (.csv, .tsv) or plain text; all of params.yaml's."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Cosine from which two instructions are near duplicates.")
    ] = 0.9,
    most: Annotated[int, typer.Option(min=0, help="Pairs of near duplicates to show.")] = 5,
    text: Annotated[str | None, typer.Option(help="Column of the texts in a CSV or TSV file.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of their labels.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Count entries, lengths, duplicates and near duplicates, and what test sets share with the training set.

    Examples: gpt data check; gpt data check data/instructions.json; gpt data check data/topics.csv --text review
    """
    from gpt_from_scratch.data.inspection.checking import Checker, as_table
    from gpt_from_scratch.params.sections import load_params

    root = find_project()
    checker = Checker(root, load_params(root / "params.yaml"), threshold, most)
    found = checker.present() if file is None else [checker.file(file, text, label)]
    if as_json:
        typer.echo(json.dumps(list(found), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n\n".join(map(as_table, found)))
