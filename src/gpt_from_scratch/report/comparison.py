"""The present results beside another commit's, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.confidence import marks, paired
from gpt_from_scratch.evaluation.figures import accuracy_text, label
from gpt_from_scratch.experiments.published import params_of_results
from gpt_from_scratch.files.curves import parse_curve, parse_rows, read_curve
from gpt_from_scratch.files.nested import at
from gpt_from_scratch.files.reading import parse_json, read_text
from gpt_from_scratch.pipeline.dvc import dvc_output
from gpt_from_scratch.pipeline.git import git_output
from gpt_from_scratch.report.charts import TRAININGS, eval_batches

MOST_POINTS = 40
"""Points of a curve: more are thinned, since a comment has little room."""

COLOURS = {"blue": "#1f5fa8", "orange": "#d1641c"}

CURVES = (
    ("pretrain", "", "step", "validation_loss"),
    ("finetune_classify", "", "step", "validation_loss"),
    ("finetune_classify", "_accuracy", "epoch", "validation_accuracy"),
    ("finetune_instruct", "", "step", "validation_loss"),
)
"""Training, ending of the file's name, and columns."""


def comparison(root: Path, revision: str) -> str:
    """Return metrics, classifier, parameters and curves of the workspace beside those of a commit, as Markdown.

    Curves are drawn in Mermaid, which GitHub and other hosts show as pictures.

    Raises:
        InputError: when there is no such commit.
    """
    if git_output(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise InputError(f"revision: expected a commit that git knows, found {revision!r}")
    parts = {
        "Metrics": _table(root, "metrics", revision),
        "Classifier": _paired(root, revision),
        "Parameters": _table(root, "params", revision),
        "Curves": "\n\n".join(chart for row in CURVES for chart in _charts(root, revision, *row)),
    }
    if not any(parts.values()):
        return f"No differences: metrics, parameters and curves are those of `{revision}`.\n"
    sections = [f"### {title}\n\n{text or 'No difference.'}" for title, text in parts.items()]
    return "\n\n".join([f"## Results beside those of `{revision}`", *sections]) + "\n"


def _table(root: Path, what: str, revision: str) -> str:
    """Return DVC's table of differences; nothing where it has no row."""
    text = dvc_output(root, what, "diff", "--md", revision)
    return text if len(text.splitlines()) > 2 else ""


def _paired(root: Path, revision: str) -> str:
    """Return the paired test of both states' classifiers; nothing where they answer alike, or on other test sets."""
    texts = []
    for name in ("tables/models.json", "plots/confusion.csv"):
        path = root / "metrics" / name
        committed = git_output(root, "show", f"{revision}:./metrics/{name}") or ""
        texts.append((read_text(path) if path.is_file() else "", committed))
    now, before = (marks(parse_rows(text)) for text in texts[1])
    if now == before or not (now and before):
        return ""
    here, there = (at(parse_json(text or "{}", "tables/models.json"), "classifier.test_set") for text in texts[0])
    if here != there or len(now) != len(before):
        return "No paired test: by `metrics/tables/models.json` the test sets are not the same."
    said = f"Test accuracy {accuracy_text(now)}, in `{revision}` {accuracy_text(before)}"
    return f"{said}: the difference is {paired(now, before)}."


def _charts(root: Path, revision: str, training: str, ending: str, x: str, y: str) -> list[str]:
    """Return the charts of one curve in both states: one where they have the same steps, else one for each.

    Nothing is returned where the states are the same, or the present one is missing.
    """
    name = f"{training}{ending}.csv"
    path = root / "metrics" / "plots" / name
    committed = git_output(root, "show", f"{revision}:./metrics/plots/{name}") or ""
    curves = read_curve(path, optional=True), parse_curve(committed, f"{revision}: {name}")
    now, before = ([(row[x], row[y]) for row in curve if row.get(y) is not None] for curve in curves)
    if now == before or not now:
        return []
    title = f"{TRAININGS[training]}: {label(y, eval_batches(params_of_results(root), training))}"
    values = [value for _, value in before + now]
    margin = 0.05 * (max(values) - min(values)) or 0.05
    y_axis = f'"{label(y)}" {min(values) - margin:.4g} --> {max(values) + margin:.4g}'
    old, new = ("blue", f"`{revision}`", before), ("orange", "now", now)
    together = [step for step, _ in before] == [step for step, _ in now]
    return [
        _chart(title, x, y_axis, lines) for lines in ([(old, new)] if together else [(old,), (new,)]) if lines[0][2]
    ]


def _chart(title: str, x: str, y_axis: str, lines: Sequence[tuple[str, str, Sequence[tuple[float, float]]]]) -> str:
    """Return a chart of lines, each with its colour, its name and its points, and the legend that Mermaid lacks."""
    first = lines[0][2]
    shown = [*range(0, len(first) - 1, -(-len(first) // MOST_POINTS)), len(first) - 1]
    colours = ", ".join(COLOURS[colour] for colour, _, _ in lines)
    theme = f"{{'themeVariables': {{'xyChart': {{'plotColorPalette': '{colours}'}}}}}}"
    return "\n".join(
        [
            "; ".join(f"{colour}: {name}" for colour, name, _ in lines) + "\n",
            "```mermaid",
            f"%%{{init: {theme}}}%%",
            "xychart-beta",
            f'    title "{title}"',
            f'    x-axis "{x}" [{", ".join(f"{first[index][0]:g}" for index in shown)}]',
            f"    y-axis {y_axis}",
            *(f"    line [{', '.join(f'{points[index][1]:.4g}' for index in shown)}]" for _, _, points in lines),
            "```",
        ]
    )
