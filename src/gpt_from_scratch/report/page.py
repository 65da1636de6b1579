"""`report.html`: the results of the last `dvc repro` on one self-contained page.

It shows files' content; no figure is computed here that a stage could have written. All texts, which may come from a
model or from strangers' messages, are escaped by the template engine.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.answers import rouge_l
from gpt_from_scratch.evaluation.figures import figure_tables, figure_text, headline, label
from gpt_from_scratch.evaluation.measured import current_evaluation
from gpt_from_scratch.experiments.published import params_of_results, published_rows
from gpt_from_scratch.experiments.seeds import spreads
from gpt_from_scratch.files.curves import read_rows
from gpt_from_scratch.files.reading import read_text
from gpt_from_scratch.files.writing import read_json, read_list, write_text
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.report.changes import Change, changes
from gpt_from_scratch.report.charts import TRAININGS, classifier_charts, eval_batches, training_charts
from gpt_from_scratch.report.templates import template
from gpt_from_scratch.tracking.facts import as_param


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        title: its caption, which a screen reader says first.
        heads: of its columns; `#` begins one of numbers, `~` one of texts with lines of their own.
        rows: texts of the cells.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]


def write_report(root: Path, path: Path, environments: Mapping[str, Mapping[str, str]] | None = None) -> None:
    """Write the page on the project at `root` to a file.

    Args:
        environments: the facts of the environment that each training ran in, by stage; as far as they are known.

    Raises:
        InputError: when there are no results yet, or a metrics file is damaged.
    """
    write_text(path, template("page.html").render(contents(root, environments or {})))


def contents(root: Path, environments: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the content of the page, by the names in the template."""
    metrics = root / "metrics"
    if not (metrics / "evaluation.json").is_file():
        raise InputError(f"{metrics / 'evaluation.json'}: file not found; run dvc repro first")
    evaluation, changed = current_evaluation(root)
    params, since = params_of_results(root), changes(root)
    charts = training_charts(metrics / "plots", params)
    published, notes = _published(root)
    return {
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "host": socket.gethostname(),
        "evaluation": evaluation,
        "not_evaluated": changed,
        "headline": _headline(evaluation, spreads(root)),
        "curves": [chart for name, chart in charts.items() if not name.endswith("_lr")],
        "against": since.against,
        "changes": _changes(since.figures, since.params, params),
        "figures": [_figures(title, rows) for title, rows in figure_tables(evaluation).items()],
        "published": published,
        "notes": notes,
        "rates": [chart for name, chart in charts.items() if name.endswith("_lr")],
        "classifier": list(classifier_charts(metrics / "plots").values()),
        "confusions": _confusions(metrics / "tables" / "classes.json"),
        "answers": _answers(_optional(metrics / "responses.json")),
        "samples": list(_samples(metrics / "samples")),
        "split": _optional(metrics / "split_spam.json"),
        "data": [_splits(_optional(metrics / "split_spam.json")), _lengths(root)],
        "environment": _environments({title: environments.get(name, {}) for name, title in TRAININGS.items()}),
        "params": (root / "params.yaml").read_text(encoding="utf-8"),
    }


def _headline(evaluation: Mapping[str, Any], known: Mapping[str, str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, text and notes of each headline figure: its unit, its interval, and its spread where it is known."""
    for name, text, within in headline(evaluation):
        unit = "nats per token" if "loss" in name else within and f"95 % interval {within}"
        yield name, text, list(filter(None, [unit, known.get(name)]))


def _figures(title: str, rows: Mapping[str, Mapping[str, str]]) -> Table:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [[name, *(row.get(column, "-") for column in columns)] for name, row in rows.items()]
    return Table(title, [title, *(f"#{column}" for column in columns)], cells)


def _changes(figures: Iterable[Change], settings: Iterable[Change], params: Params) -> list[Table]:
    """Return the tables of the figures and of the parameters that changed."""

    def name(change: Change) -> str:
        if change.file not in TRAININGS or change.name.endswith("/step"):
            return label(change.name)
        few = eval_batches(params, change.file)
        before = {"finetune_classify": 10, "finetune_instruct": few}.get(change.file)  # as the recipes measure it
        return label(change.name, {"initial": before, "final": few, "last_epoch": few}.get(change.name.split("/")[0]))

    heads = ("figure", "#before", "#now", "#difference")
    rows = []
    for change in figures:
        difference = None if None in (change.before, change.now) else change.now - change.before
        values = (change.before, change.now, difference)
        texts = [figure_text(value, change.name.rpartition("/")[2]) for value in values]
        rows.append([TRAININGS.get(change.file, label(change.file).capitalize()), name(change), *texts])
    shown = [[row.name, *("-" if v is None else as_param(v, 200) for v in (row.before, row.now))] for row in settings]
    return [
        Table("Figures that changed", ("stage", *heads), rows),
        Table("Parameters that changed", ("parameter", "~before", "~now"), shown),
    ]


def _published(root: Path) -> tuple[list[Table], dict[str, int]]:
    """Return the published figures beside ours, those of a curve apart, and the numbers of the notes on them."""
    rows = sorted(published_rows(root), key=lambda row: row["step"] is not None)
    notes = {note: number for number, note in enumerate(dict.fromkeys(row["note"] for row in rows if row["note"]), 1)}
    cells: dict[bool, list[list[Any]]] = {False: [], True: []}
    marked = set()
    for row in rows:
        number = notes.get(row["note"])
        values = (figure_text(row[key], decimals=row["decimals"]) for key in ("ours", "published", "difference"))
        figure = {"text": row["figure"], "note": number, "first": number not in marked}
        cells[row["step"] is not None].append([row["training"], figure, *values, row["source"]])
        marked.add(number)
    heads = ("training", "figure", "#ours", "#published", "#difference", "source")
    titles = ("Beside the book’s figures", "Losses beside the book’s, step by step")
    return [Table(title, heads, found) for title, found in zip(titles, cells.values(), strict=True)], notes


def _answers(entries: Sequence[Mapping[str, Any]]) -> Table:
    judges = list(dict.fromkeys(judge for entry in entries for judge in entry.get("scores", {})))
    rows = []
    for entry in entries:
        earlier = [turn[key] for turn in entry.get("earlier_turns", ()) for key in ("instruction", "output")]
        asked = "\n\n".join(filter(None, (*earlier, entry["instruction"], entry["input"])))
        overlap = figure_text(rouge_l(entry["output"], entry["model_response"]), "rouge_l")
        scores = [figure_text(entry.get("scores", {}).get(judge)) for judge in judges]
        rows.append([asked, entry["output"], entry["model_response"], overlap, *scores])
    heads = ("~instruction", "~expected", "~answer", f"#{label('rouge_l')}", *(f"#judge {name}" for name in judges))
    return Table("Answers", heads, rows)


def _confusions(path: Path) -> Table:
    """Return the ten largest confusions on the test set."""
    classes = dict(_optional(path)).get("test", {})
    rows = [
        (actual, predicted, count, figures["messages"])
        for actual, figures in classes.items()
        for predicted, count in figures["predicted"].items()
        if predicted != actual
    ]
    heads = ("~actual", "~predicted", "#messages", "#of")
    return Table("The largest confusions, test set", heads, sorted(rows, key=lambda row: -row[2])[:10])


def _samples(folder: Path) -> Iterator[Table]:
    for name, title in TRAININGS.items():
        rows = [[row["epoch"], row["step"], row["text"]] for row in _optional(folder / f"{name}.json")]
        yield Table(f"{title}, after each epoch", ("#epoch", "#step", "~text"), rows)
    rows = [[row["decoding"], row["text"]] for row in _optional(folder / "evaluate.json")]
    yield Table("The finished language model", ("decoding", "~text"), rows)


def _splits(split: Mapping[str, Any]) -> Table:
    rows = []
    for name, counts in (split["splits"] if split else {}).items():
        overlap = split["overlap_with_train"].get(name, {})
        numbers = [counts.get(key) for key in ("messages", "smallest_class", "largest_class")]
        numbers += [overlap.get("exact"), overlap.get("folded")]
        rows.append([label(name), *map(figure_text, numbers)])
    heads = ("split", "#messages", "#smallest class", "#largest class", "#also in training", "#normalised")
    return Table("Messages of each split", heads, rows)


def _environments(found: Mapping[str, Mapping[str, str]]) -> Table:
    names = dict.fromkeys(["fingerprint", *(name for facts in found.values() for name in facts)])
    rows = [
        [name, *(facts.get(name, "-" if facts else "not known: no run here") for facts in found.values())]
        for name in names
    ]
    return Table("Environment", ("fact", *(f"~{title}" for title in found)), rows)


def _optional(path: Path) -> Any:
    return read_json(path) if path.is_file() else []


def _lengths(root: Path) -> Table:
    """Return how long the texts of each data set that is there are."""
    rows = []
    for name, texts in _texts(root):
        if lengths := sorted(map(len, texts)):
            numbers = (len(texts), lengths[0], lengths[len(lengths) // 2], lengths[-1])
            rows.append([name, *map(figure_text, numbers)])
    return Table("Lengths in characters", ("texts", "#number", "#shortest", "#median", "#longest"), rows)


def _texts(root: Path) -> Iterator[tuple[str, Sequence[str]]]:
    params = load_params(root / "params.yaml")
    corpus = params.pretrain.corpus
    if corpus.is_book and (text := root / corpus.path).is_file():  # another one may be larger than the memory
        yield "text for pretraining", [read_text(text)]
    for path in sorted((root / "data" / "spam").glob("*.csv")):
        yield f"messages, {path.stem}", [row["Text"] for row in read_rows(path)]
    if (instructions := root / params.instruct.data).is_file():
        entries = read_list(instructions)
        for key in ("instruction", "input", "output", "chosen", "rejected"):
            yield f"instructions, {key}", [entry[key] for entry in entries if isinstance(entry.get(key), str)]
