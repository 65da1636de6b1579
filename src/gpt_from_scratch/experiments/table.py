"""A study's rows as one Markdown table, ours beside the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpt_from_scratch.experiments.figures import Row
from gpt_from_scratch.experiments.study import Column

NOT_MEASURED = "–"
CELLS = "Each cell: ours / published (difference). Where a row is marked, the note below says why they do not compare."


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


def _cell(column: Column, ours: float | None, published: float | None) -> str:
    mine = NOT_MEASURED if ours is None else f"{ours:,.{column.decimals}f}"
    if published is None:
        return mine
    cell = f"{mine} / {published:,.{column.decimals}f}"
    return cell if ours is None or not column.file else f"{cell} ({ours - published:+,.{column.decimals}f})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
