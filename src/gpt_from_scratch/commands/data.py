"""`gpt data`: looking at data sets, and generating instruction data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from gpt_from_scratch.commands.models import check_output
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.project import find_project

app = typer.Typer(no_args_is_help=True, help="Look at data sets, or let a larger model write one.")

KEY_VARIABLE = "GPT_DATA_KEY"


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
    from gpt_from_scratch.pipeline.dvc import ran_with

    root = find_project()
    kind = "the data of params.yaml" if file is None else kind_of(file)
    of_instructions = {"--threshold": threshold, "--most": most}
    of_tables = {"--text": text, "--label": label, "--encoding": encoding, "--no-header": None if header else True}
    none = {} if kind == "instructions" or file is None else of_instructions
    none |= {} if kind == "a table" else of_tables
    if unused := [option for option, value in none.items() if value is not None]:
        raise InputError(f"{', '.join(unused)}: expected an option with an effect on {kind}, found one without")
    params = load_params(root / "params.yaml")
    unchanged = params.pretrain.tokenizer != "corpus" or ran_with(root, "pretrain", params.pretrain.corpus.path)
    checker = Checker(root, params, threshold or 0.9, 5 if most is None else most, unchanged=unchanged)
    form = (text or "text", label or "label", header, encoding or "utf-8")
    found = checker.present() if file is None else [checker.file(file, *form)]
    if as_json:
        typer.echo(json.dumps(list(found), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n\n".join(map(as_table, found)))


@app.command()
def generate(
    kind: Annotated[
        Literal["instructions", "preferences", "passive"],
        typer.Argument(help="Instructions with answers; pairs of answers; answers in the passive voice."),
    ],
    out: Annotated[Path, typer.Argument(help="The .json file to write, such as data/new.json.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="Instructions that are changed; for instructions, with --reflect.")
    ] = None,
    url: Annotated[str, typer.Option(help="Address up to /chat/completions.")] = "http://localhost:11434/v1",
    model: Annotated[str, typer.Option(help="The model's name there.")] = "llama3",
    number: Annotated[
        int | None, typer.Option(min=1, help="Entries; default: all of --from, or 100 new instructions.")
    ] = None,
    reflect: Annotated[
        bool, typer.Option("--reflect", help="Instructions: let the model criticise and improve each entry.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of what is drawn, and for the model.")] = 123,
    price: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="IN OUT", help="US dollars per million tokens to the model and from it."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it begins.")] = False,
) -> None:
    """Let a larger model at an OpenAI-compatible endpoint write instruction data. What is interrupted resumes.

    A key in the environment's GPT_DATA_KEY is sent over https, or to this machine. Examples: gpt data generate
    instructions data/new.json --number 200 --reflect; gpt data generate preferences data/pairs.json --from
    data/raw/instruction-data.json --url https://api.openai.com/v1 --model gpt-4o-mini --price 0.15 0.60
    """
    from tqdm import tqdm

    from gpt_from_scratch.evaluation.endpoint import Endpoint
    from gpt_from_scratch.tools.generating import Draft, Job, estimate, read_source, settings_of

    if reflect and kind != "instructions":
        raise InputError(f"--reflect: expected an option with an effect on {kind}, found one without")
    if kind != "instructions" and source is None:
        raise InputError(f"--from: expected the file whose entries {kind} are made of, found none")
    if kind == "instructions" and source and not reflect:
        raise InputError("--from: expected --reflect too, which improves that file's instructions, found it alone")
    if price and not all(0 <= dollars < float("inf") for dollars in price):
        raise InputError(f"--price: expected two prices from 0 on, found {price[0]:g} and {price[1]:g}")
    source = source and source.expanduser()
    entries = read_source(source) if source else []
    if source and number and number > len(entries):
        raise InputError(f"--number: expected at most {len(entries)}, the entries of {source}, found {number}")
    job = Job(kind, number or len(entries) or 100, seed, reflect, entries)
    out = check_output(out)
    endpoint = Endpoint("--url", url, model, KEY_VARIABLE)
    draft = Draft(out, settings_of(job, model, source))
    left = [place for place in range(job.number) if place not in draft.made]
    typer.echo(f"{len(left)} of {job.number} entries to write: {estimate(job, left, price)}", err=True)
    if left and not yes:
        typer.confirm("Begin?", abort=True, err=True)
    temperature = 0.0 if source else 1.0
    try:
        for place in tqdm(left, desc=kind, unit="entry", initial=len(draft.made), total=job.number):
            draft.add(place, job.make(place, lambda text, _, own=seed + place: endpoint.reply(text, own, temperature)))
    except BaseException:
        typer.echo(f"{len(draft.made)} finished entries are in {draft.path}; the same command resumes", err=True)
        raise
    written = draft.finish(job.number)
    objective = "preferences" if kind == "preferences" else "answers"
    typer.echo(f"{out}: {written} entries for instruct.data, instruct.objective {objective}")
    if unusable := job.number - written:
        typer.echo(f"{unusable} left out: the model's reply was unusable")
