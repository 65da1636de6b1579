"""The charts of a project's results: SVG within the report, PNG for MLflow."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from gpt_from_scratch.files.curves import Curve, read_curve, read_rows

TRAININGS = {"pretrain": "Pretraining", "finetune_classify": "Classifier", "finetune_instruct": "Instruction tuning"}
_SPLITS = {"train": "training", "validation": "validation"}
SIZE = (4.6, 3.1)
"""Width and height of a chart in inches."""
FEW_CLASSES = 4
"""A confusion matrix of more grows with their number."""
# Told apart by brightness and dash too, for those who do not tell colours apart.
_LINES = (("#1f5fa8", "-"), ("#d1641c", "--"), ("#2b7a4b", "-."))


@dataclass(frozen=True)
class Chart:
    """A chart that `draw` draws on Matplotlib axes when it is asked for; `text` describes it to the blind."""

    title: str
    text: str
    draw: Callable[[Any], None] = field(repr=False)
    size: tuple[float, float] = SIZE

    @cached_property
    def source(self) -> str:
        """The chart as the address of an image: an SVG within a data URI."""
        return "data:image/svg+xml;base64," + base64.b64encode(self._drawn("svg")).decode("ascii")

    def write_png(self, path: Path) -> None:
        """Write the chart, with its title; the same bytes every time."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._drawn("png"))

    def _drawn(self, kind: str) -> bytes:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.title, "font.family": "sans-serif"}):
            figure = Figure(figsize=self.size, layout="constrained")
            axes = figure.add_subplot()
            axes.grid(visible=True, color="#dddddd", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            self.draw(axes)
            buffer = io.BytesIO()
            if kind == "png":
                axes.set_title(_literal(self.title))
            # Neither the date nor Matplotlib's version, which would change the bytes.
            metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
            figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
        return buffer.getvalue()


def training_charts(plots: Path) -> dict[str, Chart]:
    """Return the charts of the three trainings by a short name, from the curves in `metrics/plots`."""
    charts = {}
    for name, title in TRAININGS.items():
        if curve := read_curve(plots / f"{name}.csv", optional=True):
            charts[name] = line_chart(f"{title}: loss", curve, "step", _columns(curve, "loss"), "nats")
            columns = {"lr": "learning rate"}
            charts[f"{name}_lr"] = line_chart(f"{title}: learning rate", curve, "step", columns, "learning rate")
        if name == "pretrain" and (curve := read_curve(plots / "perplexity.csv", optional=True)):
            columns = _columns(curve, "perplexity")
            charts["perplexity"] = line_chart(f"{title}: perplexity", curve, "step", columns, "perplexity")
        if curve := read_curve(plots / f"{name}_accuracy.csv", optional=True):
            columns = _columns(curve, "accuracy")
            charts[f"{name}_accuracy"] = line_chart(f"{title}: accuracy", curve, "epoch", columns, "accuracy")
    return charts


def classifier_charts(plots: Path) -> dict[str, Chart]:
    """Return the charts of the classifier on the test set by a short name, from the files in `metrics/plots`."""
    charts = {}
    if rows := read_rows(plots / "confusion.csv"):
        pairs = ((row["actual"], row["predicted"]) for row in rows)
        charts["confusion"] = confusion_chart("Confusion matrix, test set", pairs)
    if curve := read_curve(plots / "roc.csv", optional=True):
        x, y = "false_positive_rate", "true_positive_rate"
        charts["roc"] = diagonal_chart("ROC curve, test set", curve, x, y, dots=False)
    if curve := read_curve(plots / "reliability.csv", optional=True):
        x, y = "predicted_probability", "observed_frequency"
        charts["reliability"] = diagonal_chart("Reliability diagram, test set", curve, x, y, dots=True)
    return charts


def write_charts(plots: Path, folder: Path) -> None:
    """Write all charts of a project as PNG."""
    for name, chart in {**training_charts(plots), **classifier_charts(plots)}.items():
        chart.write_png(folder / f"{name}.png")


def line_chart(title: str, curve: Curve, x: str, columns: Mapping[str, str], y_label: str) -> Chart:
    """Return a chart of `columns`, with their names in the legend, over the column `x`."""
    lines = {label: [(row[x], row[name]) for row in curve if row[name] is not None] for name, label in columns.items()}

    def draw(axes: Any) -> None:
        for (label, points), (colour, dash) in zip(lines.items(), _LINES, strict=False):
            axes.plot(*zip(*points, strict=True), dash, color=colour, label=label, linewidth=1.8)
        axes.set(xlabel=x.replace("_", " "), ylabel=y_label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(columns) > 1:
            axes.legend(frameon=False)

    ends = " ".join(f"{label}: from {line[0][1]:.4g} to {line[-1][1]:.4g}." for label, line in lines.items())
    return Chart(title, f"{title}. {ends}", draw)


def confusion_chart(title: str, pairs: Iterable[tuple[str, str]]) -> Chart:
    """Return a chart of how often each class was taken for each, from pairs of the actual and the predicted one."""
    counts = Counter(pairs)
    labels = sorted({label for pair in counts for label in pair})
    few = len(labels) <= FEW_CLASSES
    table = [[counts[actual, predicted] for predicted in labels] for actual in labels]
    largest = max(counts.values())

    def draw(axes: Any) -> None:
        axes.grid(visible=False)
        axes.imshow(table, cmap="Blues")
        for row, line in enumerate(table):
            for column, count in enumerate(line):
                if count or few:
                    colour = "white" if count > largest / 2 else "black"
                    axes.text(column, row, str(count), ha="center", va="center", color=colour, size=10 if few else 7)
        places, names = range(len(labels)), [_literal(label) for label in labels]
        axes.set(xticks=places, yticks=places, xticklabels=names, yticklabels=names)
        axes.set(xlabel="predicted", ylabel="actual")
        if not few:
            axes.tick_params("x", rotation=90)
            axes.tick_params(labelsize=8)

    shown = [(pair, counts[pair]) for pair in product(labels, labels)] if few else counts.most_common(20)
    said = "; ".join(f"{count} of {actual} taken for {predicted}" for (actual, predicted), count in shown)
    side = 0.25 * len(labels) + 1.5
    return Chart(title, f"{title}: {said}.", draw, SIZE if few else (side + 1.0, side))


def diagonal_chart(title: str, curve: Curve, x: str, y: str, *, dots: bool) -> Chart:
    """Return a chart of one column over another, both from 0 to 1, beside the diagonal; `dots` mark the points."""

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], ":", color="#777777")
        style = "o-" if dots else "-"
        axes.plot([row[x] for row in curve], [row[y] for row in curve], style, color=_LINES[0][0], linewidth=1.8)
        axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return Chart(title, f"{title}, {len(curve)} points of {y.replace('_', ' ')} over {x.replace('_', ' ')}.", draw)


def _columns(curve: Curve, figure: str) -> dict[str, str]:
    """Return the columns of a figure on both splits, as far as they are there, and their names in a legend."""
    return {f"{key}_{figure}": label for key, label in _SPLITS.items() if f"{key}_{figure}" in curve[0]}


def _literal(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar sign would begin a formula
