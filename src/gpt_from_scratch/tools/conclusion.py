"""The end of `make repro`: runs, models and report brought up to date, six figures, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import headline
from gpt_from_scratch.evaluation.measured import current_evaluation
from gpt_from_scratch.experiments.published import params_of_results
from gpt_from_scratch.report.page import write_report
from gpt_from_scratch.tracking.registry import register_models
from gpt_from_scratch.tracking.summary import attach_report, training_environments, write_summary

NEXT = (
    ("source .venv/bin/activate", "once for each terminal: then gpt and dvc are found"),
    ("gpt app", "try the models in a browser"),
    ("dvc exp run -S pretrain.optimizer.lr=0.001", "change a parameter; what depends on it runs again"),
    ("make ui", "compare the runs in MLflow"),
)


def conclude(root: Path, seconds: float) -> Iterator[str]:
    """Write summary run, registry and report of the present state; yield the lines to print.

    Args:
        seconds: that the pipeline took.

    Raises:
        InputError: at the end, after all lines, where MLflow could not be written to.
    """
    failed = None
    try:
        write_summary(root, strict=True)
        yield from register_models(root, strict=True)
    except InputError as error:
        failed = error
    report = root / "report.html"
    write_report(root, report, training_environments(root))
    attach_report(root, report)
    evaluation, changed = current_evaluation(root)
    profile, minutes = params_of_results(root).profile, int(seconds) // 60
    took = f"{minutes} min {int(seconds) % 60} s" if minutes else f"{int(seconds)} s"
    yield f"\nThe pipeline with the profile {profile} took {took}. All figures: gpt results, or {report.name}\n"
    yield from (f"  {name:<36}{text:>8}  {within}".rstrip() for name, text, within in headline(evaluation))
    yield from (f"  models/{name}: not evaluated as it is now; run dvc repro" for name in changed)
    beside = "Beside the book's" if profile == "book" else f"{profile} is not comparable with the book"
    yield f"\n{beside} (gpt results --book)\n\nNext:"
    yield from (f"  {command:<44}# {purpose}" for command, purpose in NEXT)
    if failed is not None:
        raise failed
