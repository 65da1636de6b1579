"""Pictures of an evaluation for MLflow: the loss curves and the confusion matrix."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

from gpt_from_scratch.data.messages.labelled import read_class_names
from gpt_from_scratch.evaluation.figures import confusion_figure, loss_figure
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.recipes.evaluate import TRAININGS
from gpt_from_scratch.training.workspace import Workspace


def draw_plots(work: Workspace) -> None:
    """Draw the curves of the three trainings and the test messages' confusion matrix, and hand them to the tracker."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for training in TRAININGS.values():
            with (work.metrics / "plots" / f"{training}.csv").open(encoding="utf-8") as file:
                rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
            loss_figure(rows, folder / f"{training}.png", training)
        confusion = read_json(work.metrics / "evaluation.json")["classifier"]["test"]["confusion"]
        confusion_figure(confusion, read_class_names(work.messages), folder / "confusion.png", "test messages")
        for path in sorted(folder.iterdir()):
            work.tracker.artifact(path, "plots")
