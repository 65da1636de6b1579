"""The present results beside another commit's, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.curves import parse_curve, read_curve
from gpt_from_scratch.pipeline.dvc import dvc_output
from gpt_from_scratch.pipeline.git import git_output

MOST_POINTS = 40
"""Points of a curve: more are thinned, since a comment has little room."""

CURVES = (
    ("Pretraining, validation loss", "pretrain.csv", "step", "validation_loss"),
    ("Classifier, validation loss", "finetune_classify.csv", "step", "validation_loss"),
    ("Classifier, validation accuracy", "finetune_classify_accuracy.csv", "epoch", "validation_accuracy"),
    ("Instruction tuning, validation loss", "finetune_instruct.csv", "step", "validation_loss"),
)


def comparison(root: Path, revision: str) -> str:
    """Return metrics, parameters and curves of the workspace beside those of a commit, as Markdown.

    Curves are drawn in Mermaid, which GitHub and other hosts show as pictures: the commit's, then the present one.

    Raises:
        InputError: when there is no such commit.
    """
    if git_output(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise InputError(f"revision: expected a commit that git knows, found {revision!r}")
    parts = [f"## Results beside those of `{revision}`"]
    for title, command in (("Metrics", "metrics"), ("Parameters", "params")):
        parts += [f"### {title}", dvc_output(root, command, "diff", "--md", revision) or "No difference."]
    parts.append("### Curves")
    drawn = [curve for row in CURVES if (curve := _curve(root, revision, *row))]
    return "\n\n".join([*parts, *(drawn or ["No difference."])]) + "\n"


def _curve(root: Path, revision: str, title: str, name: str, x: str, y: str) -> str | None:
    """Return one curve of both states; None if they are the same, or if it is missing."""
    path = root / "metrics" / "plots" / name
    committed = git_output(root, "show", f"{revision}:./metrics/plots/{name}") or ""
    curves = read_curve(path, optional=True), parse_curve(committed, f"{revision}: {name}")
    now, before = ([(row[x], row[y]) for row in curve if row.get(y) is not None] for curve in curves)
    if now == before or not now:
        return None
    values = [value for _, value in before + now]
    margin = 0.05 * (max(values) - min(values)) or 0.05
    last = max(place for place, _ in before + now)
    lines = [
        "```mermaid",
        "xychart-beta",
        f'    title "{title}: before and now"',
        f'    x-axis "{x}" 0 --> {last:g}',
        f'    y-axis "{y.replace("_", " ")}" {min(values) - margin:.4g} --> {max(values) + margin:.4g}',
    ]
    lines += [f"    line [{', '.join(f'{value:.4g}' for value in _even(points, last))}]" for points in (before, now)]
    return "\n".join([*(line for line in lines if line != "    line []"), "```"])


def _even(points: Sequence[tuple[float, float]], last: float) -> Iterator[float]:
    """Yield values at equal distances, which is what such a chart takes: the last one known at each place."""
    if not points:
        return
    number = min(MOST_POINTS, max(2, len(points)))
    for place in (last * index / (number - 1) for index in range(number)):
        yield [value for at, value in points if at <= place or at == points[0][0]][-1]
