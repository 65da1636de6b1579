"""What every training stage writes beside its model."""

from __future__ import annotations

from typing import Any

from gpt_from_scratch.files import write_csv, write_json
from gpt_from_scratch.stage import Stage
from gpt_from_scratch.training.fit import Fit


def write_training(stage: Stage, fit: Fit, facts: dict[str, Any]) -> None:
    """Write a training's metrics, curves and samples, and hand the same to MLflow.

    Args:
        facts: what else belongs to the metrics, such as `{"data": "sample", "pretrained": "synthetic"}`.
    """
    metrics, curves = stage.metrics / f"{stage.name}.json", stage.metrics / "plots" / f"{stage.name}.csv"
    write_json(metrics, {**facts, **fit.metrics()})
    write_csv(curves, fit.journal.rows)
    if fit.journal.scores:
        write_csv(stage.metrics / "plots" / f"{stage.name}_accuracy.csv", fit.journal.scores)
    if fit.samples:
        write_json(stage.metrics / "samples" / f"{stage.name}.json", fit.samples)
        stage.run.table(fit.samples, "samples.json")
        stage.run.text("\n\n".join(f"epoch {row['epoch']}: {row['text']}" for row in fit.samples), "samples.txt")
    stage.run.tags({key: facts[key] for key in ("data", "pretrained") if key in facts})
    stage.run.metrics({f"initial_{name}": value for name, value in fit.initial.items()})
    stage.run.artifact(metrics)
    stage.run.artifact(curves, "plots")
