"""The files that a training leaves beside its model: metrics, curves, samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpt_from_scratch.files.writing import write_csv, write_json, write_metrics

if TYPE_CHECKING:
    from gpt_from_scratch.training.journal import Journal
    from gpt_from_scratch.training.workspace import Workspace

SAMPLES = "samples.json"


def write_training(
    work: Workspace,
    name: str,
    journal: Journal,
    facts: dict[str, Any],
    *,
    samples: Sequence[dict[str, Any]] = (),
    scores_curve: bool = True,
) -> None:
    """Write a training's metrics, curves and samples, and hand the same to the tracker.

    Args:
        name: the stage's, which the files are called by.
        facts: further metrics, such as `{"data": "sample", "pretrained": "synthetic"}`.
        samples: rows of `Samples`.
        scores_curve: write the scores of the epochs as a curve too, if the task has any.
    """
    metrics, curves = work.metrics / f"{name}.json", work.metrics / "plots" / f"{name}.csv"
    write_metrics(metrics, {**facts, **journal.metrics()})
    write_csv(curves, journal.rows)
    if journal.scores and scores_curve:
        write_csv(work.metrics / "plots" / f"{name}_accuracy.csv", journal.scores)
    if samples:
        write_json(work.metrics / "samples" / f"{name}.json", samples)
        work.tracker.table(samples, SAMPLES)
        work.tracker.text("\n\n".join(f"epoch {row['epoch']}: {row['text']}" for row in samples), "samples.txt")
    work.tracker.tags({key: facts[key] for key in ("data", "pretrained") if key in facts})
    work.tracker.metrics({**{f"initial_{name}": value for name, value in journal.initial.items()}, **journal.best})
    work.tracker.artifact(metrics)
    work.tracker.artifact(curves, "plots")
