"""The present results beside another commit's, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.answers import answer_scores
from gpt_from_scratch.evaluation.confidence import marks, paired, paired_means
from gpt_from_scratch.evaluation.figures import accuracy_text, figure_text, label
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
    """Return metrics, paired tests, parameters and curves of the workspace beside those of a commit, as Markdown.

    Curves are drawn in Mermaid, which GitHub and other hosts show as pictures.

    Raises:
        InputError: when there is no such commit.
    """
    if git_output(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise InputError(f"revision: expected a commit that git knows, found {revision!r}")
    parts = {
        "Metrics": _table(root, "metrics", revision),
        "Classifier": _classifiers(root, revision),
        "Answers to instructions": _answers(root, revision),
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


def _both(root: Path, revision: str, name: str) -> tuple[str, str]:
    """Return a metrics file's text in the workspace and in a commit; nothing where it is not there."""
    path = root / "metrics" / name
    return read_text(path) if path.is_file() else "", git_output(root, "show", f"{revision}:./metrics/{name}") or ""


def _classifiers(root: Path, revision: str) -> str:
    """Return the paired test of both states' classifiers; nothing where they answer alike, or on other test sets."""
    now, before = (marks(parse_rows(text)) for text in _both(root, revision, "plots/confusion.csv"))
    if now == before or not (now and before):
        return ""
    measured = (parse_json(text or "{}", "tables/models.json") for text in _both(root, revision, "tables/models.json"))
    here, there = (at(content, "classifier.test_set") for content in measured)
    if here != there or len(now) != len(before):
        return "No paired test: by `metrics/tables/models.json` the test sets are not the same."
    said = f"Test accuracy {accuracy_text(now)}, in `{revision}` {accuracy_text(before)}"
    return f"{said}: the difference is {paired(now, before)}."


def _answers(root: Path, revision: str) -> str:
    """Return the paired tests of both states' instruction models; nothing where they answer alike."""
    states = [parse_json(text or "[]", "responses.json") for text in _both(root, revision, "responses.json")]
    texts = [[row.pop("model_response") for row in rows] for rows in states]
    if texts[0] == texts[1] or not all(texts):
        return ""
    entries = [[row | {"scores": None} for row in rows] for rows in states]  # judges' scores are of the answers
    if entries[0] != entries[1]:
        return "No paired test: by `metrics/responses.json` the test entries are not the same."
    now, before = (answer_scores(rows, answers) for rows, answers in zip(entries, texts, strict=True))
    means = [figure_text(sum(scores["rouge_l"]) / len(scores["rouge_l"])) for scores in (now, before)]
    compared = [("ROUGE-L", *means, paired_means(now["rouge_l"], before["rouge_l"]))]
    for name in ("exact_match", "loose_match"):
        right, then = ("".join(str(int(mark)) for mark in scores[name]) for scores in (now, before))
        if right != then:
            compared.append((label(name).capitalize(), accuracy_text(right), accuracy_text(then), paired(right, then)))
    return "\n\n".join(
        f"{name} {here}, in `{revision}` {there}: the difference is {said}." for name, here, there, said in compared
    )


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
