"""A study's table in Markdown: each variant's figures from the files of its experiment beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments.published import BOOK, Run, compare
from gpt_from_scratch.experiments.recorded import Recorded, recorded
from gpt_from_scratch.experiments.settings import changes_of, experiment_name, missing, plan, raw_params
from gpt_from_scratch.experiments.study import Column, Form, PipelineStudy, Variant
from gpt_from_scratch.params.sections import Params, load_params

NOT_MEASURED = "–"
CELLS = "Each cell: ours / published (difference). Where a row is marked, the note below says why they do not compare."


@dataclass
class Row:
    """A line of a study's table.

    Attributes:
        ours: our figures by column; what was not measured is missing.
        marks: why they cannot be compared with the published ones.
        experiment: name of the experiment that they are from.
        params: its parameters.
    """

    variant: Variant | Form
    ours: dict[str, float] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    experiment: str = ""
    params: Params | None = None


def rows(root: Path, name: str, study: PipelineStudy) -> list[Row]:
    """Return a row for every variant: its most comparable experiment, the newest of these."""
    found = recorded(root)
    book = raw_params(root / BOOK)
    full = {variant.name: variant for variant in study.rows(reduced=False)}
    small = {variant.name: variant for variant in study.rows(reduced=True)}
    names = small if study.grid and not any(_known(found, name, variant) for variant in full) else full
    made = []
    for variant in names.values():
        candidates = [
            _row(root, study, variant, one, book, reduced)
            for reduced in (False, True)
            for one in found.get(experiment_name(name, variant.name, reduced), [])
        ]
        best = min(candidates, key=lambda row: len(row.marks), default=None)
        made.append(best or Row(variant, marks=[_why_not(root, name, study, variant)]))
    return made


def run_of(one: Recorded, study: PipelineStudy, params: Params) -> Run:
    """Return an experiment as a run, with the metrics files that a study looks at."""
    files = {study.stage, *(column.file for column in study.columns.values() if column.file)}
    return Run(params, {file: one.metrics(file) for file in sorted(files)})


def table(columns: Mapping[str, Column], rows: Sequence[Row]) -> str:
    """Return a table with a line for each row, and below it why figures are marked.

    A cell shows ours, the published figure and the difference. Times have no difference: they are of other machines.
    """
    numbered = any(getattr(row.variant, "row", "") for row in rows)
    titles = ["row"] * numbered + ["variant"] + [column.title for column in columns.values()]
    notes: list[str] = []
    lines = [_line(titles), _line(["---"] * len(titles))]
    for row in rows:
        own = list(filter(None, ["; ".join(row.marks), row.variant.note]))
        for note in own:
            if note not in notes:
                notes.append(note)
        marks = "".join(f" [{notes.index(note) + 1}]" for note in own)
        cells = [getattr(row.variant, "row", "")] * numbered + [row.variant.title + marks]
        cells += [
            _cell(column, row.ours.get(name), row.variant.published.get(name)) for name, column in columns.items()
        ]
        lines.append(_line(cells))
    legend = [f"[{number}] {note}" for number, note in enumerate(notes, start=1)]
    head = [CELLS, ""] if any(row.variant.published for row in rows) else []
    return "\n".join([*head, *lines, *([""] if legend else []), *(f"- {line}" for line in legend)])


def flat(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return the rows as flat records."""
    return [
        {
            "variant": row.variant.name,
            "experiment": row.experiment,
            **{f"{name} (ours)": value for name, value in row.ours.items()},
            **{f"{name} (published)": value for name, value in row.variant.published.items()},
            "not comparable": "; ".join(row.marks),
        }
        for row in rows
    ]


def _row(
    root: Path, study: PipelineStudy, variant: Variant, one: Recorded, book: Mapping[str, Any], reduced: bool
) -> Row:
    params = one.params()
    run = run_of(one, study, params or load_params(root / BOOK))
    found = {name: run.figure(column) for name, column in study.table_columns.items() if column.file}
    row = Row(variant, {name: value for name, (value, _) in found.items() if value is not None}, [], one.name, params)
    if params is None:
        row.marks.append("parameters of older code")
    elif variant.published:
        row.marks += compare(study, variant, run, book, reduced=reduced).reasons
        row.marks += [note for name, (_, note) in found.items() if note and name in variant.published]
    if not one.has_present_code():
        row.marks.append("the code has changed since")
    return row


def _why_not(root: Path, name: str, study: PipelineStudy, variant: Variant) -> str:
    """Return why there is no experiment of a variant."""
    try:
        planned = plan(raw_params(root / "params.yaml"), name, variant, changes_of(study, variant, True), True)
    except InputError as error:
        return str(error)
    lacking = missing(root, planned, full=False)
    return f"not run: {lacking}" if lacking else "not run yet"


def _known(found: Mapping[str, Sequence[Recorded]], study: str, variant: str) -> bool:
    return experiment_name(study, variant, reduced=False) in found


def _cell(column: Column, ours: float | None, published: float | None) -> str:
    mine = NOT_MEASURED if ours is None else f"{ours:,.{column.decimals}f}"
    if published is None:
        return mine
    cell = f"{mine} / {published:,.{column.decimals}f}"
    return cell if ours is None or not column.file else f"{cell} ({ours - published:+,.{column.decimals}f})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
