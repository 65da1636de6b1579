"""`gpt classify`: a classifier labels texts."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gpt_from_scratch.commands import models
from gpt_from_scratch.errors import InputError

if TYPE_CHECKING:
    from gpt_from_scratch.generation.classifying import Classified

app = typer.Typer()

_EXAMPLES = """Examples:

gpt classify "You have won a prize, call now"

gpt classify --file messages.txt > labels.csv

gpt classify --file messages.csv --column Text --format jsonl --out labels.jsonl

cat messages.txt | gpt classify --file - --precision bf16"""


@app.command(epilog=_EXAMPLES, rich_help_panel=models.PANEL)
def classify(
    text: Annotated[str | None, typer.Argument(help="The text to classify.")] = None,
    file: Annotated[str | None, typer.Option(help="A text a line, a .csv, .tsv or JSON; - for standard input.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of a table or key of JSON objects; default: text.")] = None,
    header: Annotated[bool, typer.Option(help="Whether a table names its columns; else --column is a number.")] = True,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the file, such as latin-1; default: UTF-8.")] = None,
    form: Annotated[
        Literal["csv", "jsonl"] | None, typer.Option("--format", help="Output format; default for a file: csv.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output file, with --file; default: standard output.")] = None,
    model: Annotated[str, models.model_option("a classifier")] = "models/classifier",
    precision: Annotated[
        Literal["fp32", "bf16", "int8"],
        typer.Option(
            help="bf16, int8: fast where the processor has instructions for it; probabilities exact to 2 digits, or 1."
        ),
    ] = "fp32",
    device: models.DeviceOption = "auto",
    threads: models.ThreadsOption = 0,
) -> None:
    """Print a text's label and its probability; or label every text of a file, as CSV or JSON lines.

    Texts with more tokens than the classifier reads are cut, as in its training, and a note says how many.
    """
    if (text is None) == (file is None):
        raise InputError("expected a text, or --file with a file of them, and not both")
    if file is None and (column is not None or out is not None or encoding is not None or not header):
        raise InputError("--column, --no-header, --encoding and --out: expected --file with them")
    if out is not None:
        models.check_output(out)
    if not header and column is None:
        raise InputError("--no-header: expected --column with the number of a column")
    from gpt_from_scratch.data.messages.tables import parse_texts

    texts = [text or ""]
    if file is not None:
        texts = parse_texts(models.read_input(file, encoding or "utf-8"), file, column, header)
    from tqdm import tqdm

    from gpt_from_scratch.generation.classifying import classify as classify_texts
    from gpt_from_scratch.model.int8 import to_int8
    from gpt_from_scratch.tokenizer.bpe import load_tokenizer
    from gpt_from_scratch.weights.classifier import load_classifier

    folder = models.find_model(model)
    if not (folder / "classifier.json").is_file():
        raise InputError(f"{folder}: expected a classifier, found a model without classifier.json; try gpt generate")
    classifier, info = load_classifier(folder, device=models.use_device(device, threads))
    if precision == "int8":
        words = {"evaluate.weights: int8": "--precision int8", "8 bits for activations": "--precision int8"}
        with models.own_words({**words, "runtime.device": "--device"}):
            classifier = to_int8(classifier, activation_bits=8)
    every = 0.2 if sys.stderr.isatty() else 30.0
    with tqdm(total=len(texts), desc="texts", unit="text", mininterval=every, disable=file is None) as bar:
        weights = "bf16" if precision == "bf16" else "fp32"
        found = classify_texts(classifier, info, load_tokenizer(folder), texts, precision=weights, progress=bar.update)
    if found.cut.any():
        typer.echo(f"note: {found.cut_note('texts')}", err=True)
    if file is None and form is None:
        typer.echo(f"{found.labels[0]}  {found.probabilities.max():.4f}")
    else:
        models.write_output(labelled(texts, found, form or "csv"), out)


def labelled(texts: list[str], found: Classified, form: Literal["csv", "jsonl"]) -> str:
    """Return texts with their labels and probabilities; JSON lines have the probabilities of all labels too."""
    buffer = io.StringIO()
    if form == "csv":
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("text", "label", "probability"))
    for text, label, row in zip(texts, found.labels, found.probabilities.tolist(), strict=True):
        probability = round(max(row), 6)
        if form == "csv":
            writer.writerow((text, label, probability))
            continue
        every = {name: round(value, 6) for name, value in zip(found.names, row, strict=True)}
        content = {"text": text, "label": label, "probability": probability, "probabilities": every}
        buffer.write(json.dumps(content, ensure_ascii=False) + "\n")
    return buffer.getvalue()
