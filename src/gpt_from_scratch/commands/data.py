"""`gpt data`: looking at data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.project import find_project

app = typer.Typer(no_args_is_help=True, help="Look at data sets before a model is trained on them.")


@app.callback()
def _data() -> None:
    """Without a second command, typer would take `check` for this one's argument."""


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="Instructions (.json, .jsonl), labelled texts (.csv, .tsv), plain text, or a folder."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.01, max=1.0, help="Cosine from which two instructions are near duplicates; default: 0.9."),
    ] = None,
    most: Annotated[int | None, typer.Option(min=0, help="Pairs of near duplicates to show; default: 5.")] = None,
    text: Annotated[str | None, typer.Option(help="Column of the texts in a CSV or TSV file; default: text.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of their labels; default: label.")] = None,
    header: Annotated[bool, typer.Option(help="Whether the columns have names; else numbers from 1.")] = True,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the CSV or TSV file; default: UTF-8.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Count entries, lengths, duplicates and near duplicates, and what test sets share with the training set.

    Examples: gpt data check; gpt data check data/instructions.json; gpt data check data/topics.csv --text review
    """
    from gpt_from_scratch.data.inspection.checking import Checker, as_table, kind_of
    from gpt_from_scratch.params.sections import load_params

    root = find_project()
    kind = "the data of params.yaml" if file is None else kind_of(file)
    of_instructions = {"--threshold": threshold, "--most": most}
    of_tables = {"--text": text, "--label": label, "--encoding": encoding, "--no-header": None if header else True}
    none = {} if kind == "instructions" or file is None else of_instructions
    none |= {} if kind == "a table" else of_tables
    if unused := [option for option, value in none.items() if value is not None]:
        raise InputError(f"{', '.join(unused)}: expected an option with an effect on {kind}, found one without")
    checker = Checker(root, load_params(root / "params.yaml"), threshold or 0.9, 5 if most is None else most)
    form = (text or "text", label or "label", header, encoding or "utf-8")
    found = checker.present() if file is None else [checker.file(file, *form)]
    if as_json:
        typer.echo(json.dumps(list(found), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n\n".join(map(as_table, found)))
