"""The studies that there are, in a line or two each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gpt_from_scratch.experiments.measure import result_file
from gpt_from_scratch.experiments.recorded import recorded
from gpt_from_scratch.experiments.settings import experiment_name
from gpt_from_scratch.experiments.study import Measurement, PipelineStudy, read_study, study_names


def overview(root: Path) -> Iterator[str]:
    """Yield for each study its name, title and state, and its requirements for the published figures."""
    found = recorded(root)
    for name in study_names(root):
        study = read_study(root, name)
        yield f"{name}: {study.title}"
        if isinstance(study, Measurement):
            state = "measured" if result_file(root, name).is_file() else "not measured yet"
            yield f"  {len(study.forms)} forms, {state}; a GPU for {sum(form.gpu for form in study.forms)} of them"
            continue
        small, full = (_done(found, name, study, reduced) for reduced in (True, False))
        yield f"  reduced: {small}; full: {full}"
        if needs := _needs(study):
            yield f"  for the published figures: {needs}"


def _done(found: dict[str, object], name: str, study: PipelineStudy, reduced: bool) -> str:
    rows = study.rows(reduced)
    return f"{sum(experiment_name(name, row.name, reduced) in found for row in rows)} of {len(rows)} variants have run"


def _needs(study: PipelineStudy) -> str:
    rows = study.variants
    real, gpu = (sum(getattr(row.needs, what) for row in rows) for what in ("weights", "gpu"))
    sizes = sorted({row.needs.size for row in rows if row.needs.size}, key=lambda size: (len(size), size))
    parts = [f"OpenAI's weights for {real} variants ({', '.join(sizes)})"] if real else []
    parts += [f"a GPU for {gpu}"] if gpu else []
    return ", ".join([*parts, *(row.needs.file for row in rows if row.needs.file)])
