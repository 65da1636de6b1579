"""Charts as pictures that a page holds within itself (SVG as data URIs)."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Rows = Sequence[Mapping[str, Any]]

# Told apart by brightness and dash too, for those who do not tell colours apart.
_LINES = (("#1f5fa8", "-"), ("#d1641c", "--"), ("#2b7a4b", "-."))


@dataclass
class Chart:
    """A picture.

    Attributes:
        title: what it shows.
        text: the same for those who do not see it.
        source: the picture as the address of an image.
    """

    title: str
    text: str
    source: str = field(default="", repr=False)


def line_chart(title: str, rows: Rows, x: str, columns: Mapping[str, str], y_label: str) -> Chart:
    """Draw columns of `rows` over the column `x`.

    Args:
        columns: what the legend calls each column.
    """
    chart = Chart(title, f"{title}. {_ends(rows, columns)}")
    with _drawn(chart) as axes:
        for (name, label), (colour, dash) in zip(columns.items(), _LINES, strict=False):
            points = [(float(row[x]), float(row[name])) for row in rows if row[name] not in ("", None)]
            axes.plot(*zip(*points, strict=True), dash, color=colour, label=label, linewidth=1.8)
        axes.set(xlabel=x.replace("_", " "), ylabel=y_label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(columns) > 1:
            axes.legend(frameon=False)
    return chart


def confusion_chart(title: str, pairs: Iterable[tuple[str, str]]) -> Chart:
    """Draw how often each class was taken for each, from pairs of the actual and the predicted one."""
    pairs = list(pairs)
    labels = sorted({label for pair in pairs for label in pair})
    counts = [[pairs.count((actual, predicted)) for predicted in labels] for actual in labels]
    said = "; ".join(
        f"{count} of {actual} taken for {predicted}"
        for actual, line in zip(labels, counts, strict=True)
        for predicted, count in zip(labels, line, strict=True)
    )
    chart = Chart(title, f"{title}: {said}.")
    with _drawn(chart) as axes:
        axes.grid(visible=False)
        axes.imshow(counts, cmap="Blues")
        largest = max(map(max, counts))
        for row, line in enumerate(counts):
            for column, count in enumerate(line):
                colour = "white" if count > largest / 2 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour)
        places = range(len(labels))
        axes.set(xticks=places, yticks=places, xticklabels=labels, yticklabels=labels)
        axes.set(xlabel="predicted", ylabel="actual")
    return chart


def diagonal_chart(title: str, rows: Rows, x: str, y: str, *, dots: bool) -> Chart:
    """Draw one column over another, both from 0 to 1, beside the diagonal.

    Args:
        dots: mark the points, which then are few.
    """
    chart = Chart(title, f"{title}, {len(rows)} points of {y.replace('_', ' ')} over {x.replace('_', ' ')}.")
    with _drawn(chart) as axes:
        axes.plot([0, 1], [0, 1], ":", color="#777777")
        colour = _LINES[0][0]
        style = "o-" if dots else "-"
        axes.plot([float(row[x]) for row in rows], [float(row[y]) for row in rows], style, color=colour, linewidth=1.8)
        axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return chart


def _ends(rows: Rows, columns: Mapping[str, str]) -> str:
    values = {label: [row[name] for row in rows if row[name] not in ("", None)] for name, label in columns.items()}
    return " ".join(
        f"{label}: from {float(column[0]):.4g} to {float(column[-1]):.4g}." for label, column in values.items()
    )


@contextmanager
def _drawn(chart: Chart) -> Iterator[Any]:
    """Give axes to draw on, and put what was drawn into the chart."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.title, "font.family": "sans-serif"}):
        figure = Figure(figsize=(4.6, 3.1), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        yield axes
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    chart.source = "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
