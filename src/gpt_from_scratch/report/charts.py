"""The charts of a project's results: SVG within the report, PNG for MLflow."""

from __future__ import annotations

import base64
import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from gpt_from_scratch.evaluation.figures import figure_text, label
from gpt_from_scratch.experiments.published import params_of_results
from gpt_from_scratch.files.curves import Curve, read_curve, read_rows
from gpt_from_scratch.params.sections import Params

TRAININGS = {"pretrain": "Pretraining", "finetune_classify": "Classifier", "finetune_instruct": "Instruction tuning"}
SIZE = (4.6, 3.4)
"""Width and height of a chart in inches."""
FEW_CLASSES = 4
"""A confusion matrix of more grows with their number."""
# Told apart by brightness and dash too, for those who do not tell colours apart.
_LINES = (("#1f5fa8", "-"), ("#d1641c", "--"))
_INK, _GRID = "#1d2329", "#d8dde2"
_INKS = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
DARK = {_INK: "#e6eaee", _GRID: "#39424c", "#1f5fa8": "#7db3f2", "#d1641c": "#f19a5f"}
"""Colours of a chart on a dark page, by those on a light one."""


@dataclass(frozen=True)
class Chart:
    """A chart that `draw` draws on Matplotlib axes when it is asked for; `text` describes it to the blind."""

    title: str
    text: str
    draw: Callable[[Any], None] = field(repr=False)
    size: tuple[float, float] = SIZE

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of the chart as an image of a page, whose inches have 96 pixels."""
        return round(96 * self.size[0]), round(96 * self.size[1])

    @cached_property
    def source(self) -> str:
        """The chart as the address of an image: an SVG within a data URI, in the page's colours, light or dark."""
        svg = re.sub("|".join(DARK), lambda found: f"var(--c{found[0][1:]}, {found[0]})", self._drawn("svg").decode())
        dark = " ".join(f"--c{light[1:]}: {colour};" for light, colour in DARK.items())
        style = f"<style>@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}</style>"
        svg = svg.replace("<defs>", f"{style}<defs>", 1)
        return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode("ascii")

    def write_png(self, path: Path) -> None:
        """Write the chart, with its title; the same bytes every time."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._drawn("png"))

    def _drawn(self, kind: str) -> bytes:
        logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)  # tells of every new cache of fonts
        import matplotlib as mpl
        from matplotlib.figure import Figure

        style = {"svg.fonttype": "none", "svg.hashsalt": self.title, "font.family": "sans-serif"}
        with mpl.rc_context(style | dict.fromkeys(_INKS, _INK)):
            figure = Figure(figsize=self.size, layout="constrained")
            axes = figure.add_subplot()
            axes.grid(visible=True, color=_GRID, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            self.draw(axes)
            if axes.get_legend_handles_labels()[0]:
                figure.legend(loc="outside lower center", frameon=False)  # where it hides no line
            buffer = io.BytesIO()
            if kind == "png":
                axes.set_title(_literal(self.title))
            # Neither the date nor Matplotlib's version, which would change the bytes.
            metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
            figure.savefig(buffer, format=kind, dpi=150, metadata=metadata, transparent=kind == "svg")
        return buffer.getvalue()


def eval_batches(params: Params, training: str) -> int:
    """Return the number of batches that a training measures its losses and accuracies on, after the first time."""
    return getattr(params, training.removeprefix("finetune_")).eval_batches


def training_charts(plots: Path, params: Params) -> dict[str, Chart]:
    """Return the charts of the three trainings by a short name, from the curves in `metrics/plots`.

    Args:
        params: those that the curves were made with.
    """
    unit = "nats per pair" if params.instruct.objective == "preferences" else "nats per token"
    units = {"pretrain": "nats per token", "finetune_classify": "nats per message", "finetune_instruct": unit}
    charts = {}
    for name, title in TRAININGS.items():
        for file, kind, x, y_label in (
            (name, "loss", "step", f"loss, {units[name]}"),
            (name, "lr", "step", label("lr")),
            ("perplexity" if name == "pretrain" else "", "perplexity", "step", "perplexity"),
            (f"{name}_accuracy", "accuracy", "epoch", "accuracy"),
        ):
            if curve := read_curve(plots / f"{file}.csv", optional=True):
                batches = None if kind == "lr" else eval_batches(params, name)
                columns = [key for key in ("lr", f"train_{kind}", f"validation_{kind}") if key.endswith(kind)]
                named = {key: label(key, batches) for key in columns if key in curve[0]}
                short = {"loss": name, "perplexity": "perplexity"}.get(kind, f"{name}_{kind}")
                charts[short] = line_chart(f"{title}: {label(kind)}", curve, x, named, y_label)
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
    """Write all charts of the project with these `metrics/plots` as PNG."""
    params = params_of_results(plots.parents[1])
    for name, chart in {**training_charts(plots, params), **classifier_charts(plots)}.items():
        chart.write_png(folder / f"{name}.png")


def line_chart(title: str, curve: Curve, x: str, columns: Mapping[str, str], y_label: str) -> Chart:
    """Return a chart of `columns`, with their names in the legend, over the column `x`."""
    lines = {name: [(row[x], row[name]) for row in curve if row[name] is not None] for name in columns}

    def draw(axes: Any) -> None:
        for (name, points), (colour, dash) in zip(lines.items(), _LINES, strict=False):
            axes.plot(*zip(*points, strict=True), dash, color=colour, label=columns[name], linewidth=1.8)
        axes.set(xlabel=x.replace("_", " "), ylabel=y_label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if y_label == "accuracy":
            axes.yaxis.set_major_formatter(lambda value, _: figure_text(value, "accuracy"))

    ends = (
        f"{columns[name]}: from {figure_text(line[0][1], name)} to {figure_text(line[-1][1], name)}."
        for name, line in lines.items()
    )
    return Chart(title, f"{title}. {' '.join(ends)}", draw)


def confusion_chart(title: str, pairs: Iterable[tuple[str, str]]) -> Chart:
    """Return a chart of how often each class was taken for each, from pairs of the actual and the predicted one."""
    counts = Counter(pairs)
    labels = sorted({label for pair in counts for label in pair})
    few = len(labels) <= FEW_CLASSES
    table = [[counts[actual, predicted] for predicted in labels] for actual in labels]

    def draw(axes: Any) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        axes.grid(visible=False)
        # More or less of one blue over the page, light or dark, on which the page's ink stays legible.
        blues = LinearSegmentedColormap.from_list("blues", [f"{_LINES[0][0]}00", f"{_LINES[0][0]}99"])
        image = axes.imshow(table, cmap=blues, vmin=0)
        axes.figure.colorbar(image, ax=axes, label="messages").locator.set_params(integer=True)
        for row, line in enumerate(table):
            for column, count in enumerate(line):
                if count or few:
                    axes.text(column, row, str(count), ha="center", va="center", size=10 if few else 7)
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
        axes.plot([0, 1], [0, 1], ":", color=_INK, label="perfectly calibrated" if dots else "chance")
        style = {"marker": "o" if dots else "", "color": _LINES[0][0], "linewidth": 1.8, "label": "classifier"}
        axes.plot([row[x] for row in curve], [row[y] for row in curve], **style)
        axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return Chart(title, f"{title}, {len(curve)} points of {y.replace('_', ' ')} over {x.replace('_', ' ')}.", draw)


def _literal(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar sign would begin a formula
