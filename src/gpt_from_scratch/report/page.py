"""`report.html`: the results of the last `dvc repro` on one self-contained page.

It reads files and draws what they say; no figure is computed here that a stage could have written. All texts, which
may come from a model or from strangers' messages, are escaped by the template engine.
"""

from __future__ import annotations

import socket
from datetime import datetime
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.instructions import rouge_l
from gpt_from_scratch.experiments.published import published_rows
from gpt_from_scratch.files.writing import read_json, write_text
from gpt_from_scratch.pipeline.fingerprint import fingerprint, short
from gpt_from_scratch.report.changes import metric_changes
from gpt_from_scratch.report.charts import TRAININGS, classifier_charts, training_charts
from gpt_from_scratch.report.lengths import length_rows
from gpt_from_scratch.report.results import classifier_rows, figure_text, own_rows


def write_report(root: Path, path: Path) -> None:
    """Write the page.

    Args:
        root: the project's folder.
        path: the file to be written.

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
    write_text(path, environment.get_template("page.html").render(contents(root)))


def contents(root: Path) -> dict[str, Any]:
    """Return the content of the page, by the names in the template."""
    metrics = root / "metrics"
    if not (metrics / "evaluation.json").is_file():
        raise InputError(f"{metrics / 'evaluation.json'}: file not found; run dvc repro first")
    evaluation = read_json(metrics / "evaluation.json")
    published, classifier = published_rows(root), classifier_rows(evaluation["classifier"])
    facts = fingerprint(root)
    return {
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "host": socket.gethostname(),
        "evaluation": evaluation,
        "own": list(own_rows(evaluation)),
        "classifier": {"columns": classifier[0], "rows": classifier[1]},
        "published": [row for row in published if row["step"] is None],
        "published_curves": [row for row in published if row["step"] is not None],
        "notes": list(dict.fromkeys(row["note"] for row in published if row["note"])),
        "changes": metric_changes(root),
        "curves": list(training_charts(metrics / "plots").values()),
        "classifier_charts": list(classifier_charts(metrics / "plots").values()),
        "answers": _answers(metrics / "responses.json"),
        "samples": {title: _optional(metrics / "samples" / f"{name}.json") for name, title in TRAININGS.items()},
        "split": _optional(metrics / "split_spam.json"),
        "lengths": length_rows(root),
        "environment": {"fingerprint": short(facts), **facts},
        "params": (root / "params.yaml").read_text(encoding="utf-8"),
    }


def _answers(path: Path) -> list[dict[str, Any]]:
    return [{**entry, "rouge_l": rouge_l(entry["output"], entry["model_response"])} for entry in _optional(path)]


def _optional(path: Path) -> Any:
    return read_json(path) if path.is_file() else []
