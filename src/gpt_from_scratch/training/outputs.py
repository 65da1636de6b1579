"""The files that a training leaves beside its model: metrics, curves, samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpt_from_scratch.files.writing import write_csv, write_json

if TYPE_CHECKING:
    from gpt_from_scratch.training.fit import Fit
    from gpt_from_scratch.training.workspace import Workspace

SAMPLES = "samples.json"


def write_training(work: Workspace, name: str, fit: Fit, facts: dict[str, Any], *, scores_curve: bool = True) -> None:
    """Write a training's metrics, curves and samples, and hand the same to the tracker.

    Args:
        name: the stage's, which the files are called by.
        facts: further metrics, such as `{"data": "sample", "pretrained": "synthetic"}`.
        scores_curve: write the scores of the epochs as a curve too, if the task has any.
    """
    metrics, curves = work.metrics / f"{name}.json", work.metrics / "plots" / f"{name}.csv"
    write_json(metrics, {**facts, **fit.metrics()})
    write_csv(curves, fit.journal.rows)
    if fit.journal.scores and scores_curve:
        write_csv(work.metrics / "plots" / f"{name}_accuracy.csv", fit.journal.scores)
    if fit.samples:
        write_json(work.metrics / "samples" / f"{name}.json", fit.samples)
        work.tracker.table(fit.samples, SAMPLES)
        work.tracker.text("\n\n".join(f"epoch {row['epoch']}: {row['text']}" for row in fit.samples), "samples.txt")
    work.tracker.tags({key: facts[key] for key in ("data", "pretrained") if key in facts})
    work.tracker.metrics({f"initial_{name}": value for name, value in fit.initial.items()})
    work.tracker.artifact(metrics)
    work.tracker.artifact(curves, "plots")
