"""Pictures of the results, for MLflow and for documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def loss_figure(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw training and validation loss over the steps of a training, rows of `metrics/plots/<stage>.csv`."""
    figure, axes = _new(title)
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["train_loss"] for row in rows], label="training")
    axes.plot(steps, [row["validation_loss"] for row in rows], "-.", label="validation")
    axes.set(xlabel="step", ylabel="loss (nats)")
    axes.legend()
    _save(figure, path)


def confusion_figure(confusion: Mapping[str, Any], labels: Sequence[str], path: Path, title: str) -> None:
    """Draw a confusion matrix, counts as `classification_metrics` has them."""
    figure, axes = _new(title)
    if len(labels) == 2:
        counts = [[confusion[f"{actual}_as_{predicted}"] for predicted in labels] for actual in labels]
    else:
        counts = [[confusion[actual][predicted] for predicted in labels] for actual in labels]
    axes.imshow(counts, cmap="Blues")
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            axes.text(
                column, row, str(count), ha="center", va="center", color="white" if count > max(line) / 2 else "black"
            )
    # A dollar sign would begin a formula.
    ticks, names = range(len(labels)), [label.replace("$", r"\$") for label in labels]
    axes.set(xticks=ticks, yticks=ticks, xticklabels=names, yticklabels=names, xlabel="predicted", ylabel="actual")
    if len(labels) > 4:
        axes.tick_params("x", rotation=90)
    _save(figure, path)


def _new(title: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
