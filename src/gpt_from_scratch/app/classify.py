"""The tab "classify": a message's label, its probability, the tokens that mattered; and whole files of messages."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from gpt_from_scratch.app import limits, marking
from gpt_from_scratch.app.choosing import introduce
from gpt_from_scratch.app.refusing import run
from gpt_from_scratch.app.shelf import CLASSIFIER, Loaded, Shelf
from gpt_from_scratch.data.messages.tables import parse_texts
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.inside import influences
from gpt_from_scratch.files.reading import read_text
from gpt_from_scratch.generation.classifying import Classified, classify, padded_ids

EXPLANATION = (
    "How much a token mattered is the gradient of the label's log-odds times the token's embedding: "
    "above 0 it speaks for the label, below 0 against it; the strongest counts as 1."
)
SHOWN_ROWS = 200
"""Rows of a file's table on the page; the CSV file has all."""


def build(shelf: Shelf, opened: list[Callable[..., Any]]) -> None:
    """Put the tab's controls into the page that is being built; `opened` are the events at which it comes to view."""
    go, go_file = gr.Button("Classify", variant="primary", render=False), gr.Button("Classify the file", render=False)
    introduce(shelf, CLASSIFIER, [*opened, go.click, go_file.click])
    made = tempfile.TemporaryDirectory(prefix="gpt-app-")  # lives as long as the page
    with gr.Row():
        with gr.Column():
            message = gr.Textbox(
                "Congratulations! You won a free prize. Call now to claim it.",
                label="Message",
                lines=3,
            )
            go.render()
        with gr.Column():
            verdict = gr.HTML(elem_id="verdict")
            mattered = gr.HTML(elem_id="mattered")
    gr.Markdown("### A file of messages\n\nOne message a line, or a table or JSON with a column `text`.")
    with gr.Row():
        with gr.Column():
            file = gr.File(label="File", file_types=[".txt", ".csv", ".tsv", ".json", ".jsonl"], height=140)
            go_file.render()
        with gr.Column():
            results = gr.HTML(elem_id="results")
            download = gr.DownloadButton("Download the results as CSV", interactive=False)

    def classify_file(path: str | None) -> tuple[str, gr.DownloadButton]:
        if not path:
            raise InputError("File: expected a file of messages, found none")
        texts = read_messages(Path(path))
        shown_rows, content = classified(shelf, texts)
        out = Path(tempfile.mkdtemp(dir=made.name)) / "classified.csv"
        out.write_text(content, encoding="utf-8", newline="")
        return shown_rows, gr.DownloadButton(value=out, interactive=True)

    ask = partial(explained, shelf)
    run(go.click, ask, [message], [verdict, mattered], api_name="classify", concurrency_id="model")
    run(go_file.click, classify_file, [file], [results, download], api_name="classify_file", concurrency_id="file")


def explained(shelf: Shelf, message: str) -> tuple[str, str]:
    """Return a message's probabilities as bars, and its tokens by how much they mattered.

    Raises:
        InputError: when the message is blank or too long, or the classifier is not there.
    """
    message = limits.checked_text(message, "Message")
    loaded = shelf.classifier()
    found = classify(loaded.model, loaded.info, loaded.tokenizer, [message])
    (winner,), (label,), (probabilities,) = found.best, found.labels, found.probabilities
    verdict = f'<p class="verdict" role="status">{marking.escaped(label)}, {probabilities[winner]:.1%}</p>'
    verdict += marking.bars("Probability of each label", list(zip(found.names, probabilities, strict=True)))
    return verdict + _cut_note(found), _mattered(loaded, message, winner)


def _cut_note(found: Classified) -> str:
    return f'<p class="note">{found.cut_note("messages")}.</p>' if found.cut.any() else ""


def _mattered(loaded: Loaded, message: str, label: int) -> str:
    info = loaded.info
    padded, count = padded_ids(info, loaded.tokenizer, message)
    values = influences(loaded.model, torch.tensor(padded), label, info.deciding_token)[:count]
    strongest = float(values.abs().max()) or 1.0
    shares = (values / strongest).tolist()
    texts = marking.token_texts(loaded.tokenizer, padded[:count])
    notes = [f"{share:+.2f}" for share in shares]
    title = f"Which tokens speak for {info.labels[label]} (+) and against it (−)"
    coloured = marking.tokens(title, texts, notes, [marking.two_sided(share) for share in shares])
    return f'{coloured}<p class="note">{EXPLANATION}</p>'


def read_messages(path: Path) -> list[str]:
    """Read a file's messages, as `gpt classify --file` does.

    Raises:
        InputError: when the file or a message is too large, when there are too many, and as `parse_texts` does.
    """
    try:
        texts = parse_texts(read_text(path, limits.FILE_BYTES), path)
    except InputError as error:  # it names the file as its owner does, not where it was uploaded to
        raise InputError(str(error).replace(str(path), path.name)) from None
    if len(texts) > limits.FILE_MESSAGES:
        raise InputError(f"{path.name}: expected 1 to {limits.FILE_MESSAGES:,} messages, found {len(texts):,}")
    for number, text in enumerate(texts, start=1):
        limits.checked_text(text, f"{path.name}, message {number}")
    return texts


def classified(shelf: Shelf, texts: Sequence[str]) -> tuple[str, str]:
    """Return messages with label and probability: the first as a table, all as a CSV file's content.

    Raises:
        InputError: when the classifier is not there.
    """
    loaded = shelf.classifier()
    found = classify(loaded.model, loaded.info, loaded.tokenizer, texts)
    rows = [
        (text, label, f"{row.max():.4f}")
        for text, label, row in zip(texts, found.labels, found.probabilities, strict=True)
    ]
    content = io.StringIO(newline="")
    csv.writer(content).writerows([("Text", "Label", "Probability"), *rows])
    first = f", the first {SHOWN_ROWS} of them" if len(rows) > SHOWN_ROWS else ""
    counts = ", ".join(f"{found.labels.count(name)} {name}" for name in found.names)
    title = f"{len(rows)} messages: {counts}{first}"
    table = marking.table(title, ("Message", "Label", "Probability"), rows[:SHOWN_ROWS])
    return table + _cut_note(found), content.getvalue()
