"""The table of docs/performance.md: its figures are those of the results files that its columns name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.table import print_results

COLUMN = re.compile(r"\[[^\]]+\]\(\.\./benchmarks/results/([\w-]+\.json)\), ([\d-]+)")
NAMED = {"untied": "124M untied", " tied": "124M tied", "chapter 6": "classifier", "chapter 7": "instruction tuning"}
NAMED |= {"last real": "last real token", "grouped": "grouped by length", "32 answers": "32 prompts"}
NAMED |= {"one prompt": "one prompt", "int8": "8-bit", "loading": "loading", "tokenising": "tokenising"}
"""Words of a row on the page, and those of the measured work that it stands for."""


@pytest.fixture(scope="module")
def lines(root: Path) -> list[list[str]]:
    """The cells of the table's lines, the heading first."""
    text = (root / "docs/performance.md").read_text(encoding="utf-8")
    block = re.search(r"^\| work \| beside .*?(?=\n\n)", text, re.M | re.S)
    assert block
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in block[0].splitlines()]
    return [found[0], *found[2:]]


def shown(row: dict) -> str:
    if row["ratio"] is None:
        return "–"
    return f"{round(row['ratio'], 2):.3g}" + ("" if row["ratio"] >= row["at_least"] else " (missed)")


def test_figures_aims_and_dates_are_those_of_the_results_files(root, lines) -> None:
    heading, *rows = lines
    assert len(heading) == 7
    for column, title in enumerate(heading[3:], start=3):
        file, date = COLUMN.fullmatch(title).groups()
        results = json.loads((root / "benchmarks/results" / file).read_text(encoding="utf-8"))
        assert results["date"].startswith(date)
        assert [row[column] for row in rows] == [shown(row) for row in results["rows"]], file
        assert [row[2] for row in rows] == [f"≥ {row['at_least']:g}" for row in results["rows"]], file
        for row, measured in zip(rows, results["rows"], strict=True):
            wrong = [word for word, other in NAMED.items() if word in row[0] and other not in measured["work"]]
            assert wrong == [], (row[0], measured["work"])


def test_every_file_of_a_processor_has_a_column(root, lines) -> None:
    files = {path.name for path in (root / "benchmarks/results").glob("cpu-*.json")}
    assert files == {COLUMN.fullmatch(title)[1] for title in lines[0][3:]}


def test_ratios_are_those_of_the_times(root) -> None:
    for path in (root / "benchmarks/results").glob("cpu-*.json"):
        results = json.loads(path.read_text(encoding="utf-8"))
        for row in results["rows"]:
            if row["peers"]:
                precision = 0.01 if results.get("from_notes") else 1e-9
                assert row["ratio"] == pytest.approx(min(row["peers"].values()) / row["ours"], abs=precision)


@pytest.mark.parametrize("name", ["cpu-amd", "cpu-intel", "cpu-intel-amx"])
def test_results_files_are_printed_with_their_notes(root, name, capsys) -> None:
    path = root / f"benchmarks/results/{name}.json"
    print_results(path)
    printed = capsys.readouterr().out
    assert all(note in printed for note in json.loads(path.read_text(encoding="utf-8"))["notes"])
    assert "tokenising 100 MB" in printed
