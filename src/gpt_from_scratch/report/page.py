"""`report.html`: the results of the last `dvc repro` on one self-contained page.

It shows files' content; no figure is computed here that a stage could have written. All texts, which may come from a
model or from strangers' messages, are escaped by the template engine.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figure_tables, figure_text
from gpt_from_scratch.evaluation.instructions import rouge_l
from gpt_from_scratch.evaluation.measured import current_evaluation
from gpt_from_scratch.experiments.published import published_rows
from gpt_from_scratch.files.curves import read_rows
from gpt_from_scratch.files.reading import read_text
from gpt_from_scratch.files.writing import read_json, read_list, write_text
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.report.changes import metric_changes
from gpt_from_scratch.report.charts import TRAININGS, classifier_charts, training_charts


def write_report(root: Path, path: Path, environments: Mapping[str, Mapping[str, str]] | None = None) -> None:
    """Write the page on the project at `root` to a file.

    Args:
        environments: the facts of the environment that each training ran in, by stage; as far as they are known.

    Raises:
        InputError: when there are no results yet, or a metrics file is damaged.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gpt_from_scratch.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure_text
    write_text(path, environment.get_template("page.html").render(contents(root, environments or {})))


def contents(root: Path, environments: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the content of the page, by the names in the template."""
    metrics = root / "metrics"
    if not (metrics / "evaluation.json").is_file():
        raise InputError(f"{metrics / 'evaluation.json'}: file not found; run dvc repro first")
    evaluation, changed = current_evaluation(root)
    published = published_rows(root)
    return {
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "host": socket.gethostname(),
        "evaluation": evaluation,
        "not_evaluated": changed,
        "tables": figure_tables(evaluation),
        "published": [row for row in published if row["step"] is None],
        "published_curves": [row for row in published if row["step"] is not None],
        "notes": list(dict.fromkeys(row["note"] for row in published if row["note"])),
        "changes": metric_changes(root),
        "curves": list(training_charts(metrics / "plots").values()),
        "classifier_charts": list(classifier_charts(metrics / "plots").values()),
        "confusions": _confusions(metrics / "tables" / "classes.json"),
        "answers": _answers(metrics / "responses.json"),
        "samples": {title: _optional(metrics / "samples" / f"{name}.json") for name, title in TRAININGS.items()},
        "finished_samples": _optional(metrics / "samples" / "evaluate.json"),
        "split": _optional(metrics / "split_spam.json"),
        "lengths": _lengths(root),
        "environments": {title: environments.get(name, {}) for name, title in TRAININGS.items()},
        "params": (root / "params.yaml").read_text(encoding="utf-8"),
    }


def _answers(path: Path) -> list[dict[str, Any]]:
    return [{**entry, "rouge_l": rouge_l(entry["output"], entry["model_response"])} for entry in _optional(path)]


def _confusions(path: Path) -> list[dict[str, Any]]:
    """Return the ten largest confusions on the test set: `actual`, `predicted`, `messages`, and `of` how many."""
    classes = dict(_optional(path)).get("test", {})
    rows = [
        {"actual": actual, "predicted": predicted, "messages": count, "of": figures["messages"]}
        for actual, figures in classes.items()
        for predicted, count in figures["predicted"].items()
        if predicted != actual
    ]
    return sorted(rows, key=lambda row: -row["messages"])[:10]


def _optional(path: Path) -> Any:
    return read_json(path) if path.is_file() else []


def _lengths(root: Path) -> list[dict[str, Any]]:
    """Return for each data set that is there: `name`, `texts`, and `shortest`, `median`, `longest` in characters."""
    rows = []
    for name, texts in _texts(root):
        lengths = sorted(map(len, texts))
        if lengths:
            values = (name, len(texts), lengths[0], lengths[len(lengths) // 2], lengths[-1])
            rows.append(dict(zip(("name", "texts", "shortest", "median", "longest"), values, strict=True)))
    return rows


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
            yield f"instructions, {key}", [entry[key] for entry in entries if key in entry]
