"""The benchmark's table, in Markdown: `python -m benchmarks.table FILE` prints that of a results file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.machine import in_words
from benchmarks.one import from_json
from benchmarks.row import Row

HEAD = ("work", "ours", "others (they take so many times as long)", "asked", "reached", "bound", "share of it")


def table(rows: Iterable[Row]) -> str:
    """Return a Markdown table, one line a row, and below it what was compared and the further figures."""
    rows = list(rows)
    lines = [_line(HEAD), _line(["---"] * len(HEAD)), *(_line(_cells(row)) for row in rows)]
    lines += ["", *(_note(row) for row in rows)]
    return "\n".join(lines)


def missed(rows: Iterable[Row]) -> list[str]:
    """Return which aims were not reached, one sentence each."""
    return [f"{row.work}: {_aim(row)} asked, found {_found(row)}" for row in rows if row.reached is False]


def seconds(value: float) -> str:
    """Return a time with three digits, in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value:.0f} s"
    return f"{value / 1e-6:.3g} µs"


def _cells(row: Row) -> list[str]:
    others = "; ".join(f"{name}: {seconds(time)} ({time / row.ours:.2f} ×)" for name, time in row.peers.items())
    reached = {True: "yes", False: f"no: {_found(row)}", None: ""}[row.reached]
    bound = ["", ""] if row.bound is None else [seconds(row.bound), f"{row.bound / row.ours:.0%}"]
    return [row.work, seconds(row.ours), others, _aim(row), reached, *bound]


def _aim(row: Row) -> str:
    aims = [] if row.at_least is None else [f"≥ {row.at_least:g} ×"]
    return ", ".join(aims + ([] if row.at_most is None else [f"≤ {seconds(row.at_most)}"]))


def _found(row: Row) -> str:
    return f"{row.ratio:.2f} ×" if row.at_least is not None else seconds(row.ours)


def _note(row: Row) -> str:
    figures = ", ".join(f"{name} {value:,.6g}" for name, value in row.figures.items())
    return f"- {row.work}: {row.agreement}{f' ({figures})' if figures else ''}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def print_results(path: Path) -> None:
    """Print a results file: the machine, the date, the table, the notes; of a file taken from notes its ratios."""
    results = json.loads(path.read_text(encoding="utf-8"))
    if results.get("from_notes"):
        print(f"{results['date']}, {results['machine']['processor']}; from notes, rounded there.\n")
        print("\n".join(f"- {row['work']}: {row['ratio']:g} ×" for row in results["rows"]))
        print(f"\nMissing: {'; '.join(results['missing'])}.")
    else:
        print(f"{results['date']}, {in_words(results['machine'])}.\n")
        print(table(from_json(row) for row in results["rows"]))
    for note in results.get("notes", []):
        print(f"- {note}")


if __name__ == "__main__":
    print_results(Path(sys.argv[1]))
