"""Pictures of an evaluation for MLflow: the trainings' curves and the classifier's charts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gpt_from_scratch.report.charts import classifier_charts, training_charts
from gpt_from_scratch.training.workspace import Workspace


def draw_plots(work: Workspace) -> None:
    """Draw the charts and hand them to the tracker."""
    plots = work.metrics / "plots"
    with tempfile.TemporaryDirectory() as folder:
        for name, chart in {**training_charts(plots), **classifier_charts(plots)}.items():
            chart.write_png(path := Path(folder) / f"{name}.png")
            work.tracker.artifact(path, "plots")
