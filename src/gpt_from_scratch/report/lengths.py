"""How long the texts are that the results come from."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpt_from_scratch.files import read_json


def length_rows(root: Path) -> list[dict[str, Any]]:
    """Return for each data set that is there: `name`, `texts`, and `shortest`, `median`, `longest` in characters."""
    rows = []
    for name, texts in _texts(root / "data"):
        lengths = sorted(map(len, texts))
        if lengths:
            middle = lengths[len(lengths) // 2]
            rows.append(
                {"name": name, "texts": len(texts), "shortest": lengths[0], "median": middle, "longest": lengths[-1]}
            )
    return rows


def _texts(data: Path) -> Iterator[tuple[str, Sequence[str]]]:
    if (text := data / "raw" / "text.txt").is_file():
        yield "text for pretraining", [text.read_text(encoding="utf-8")]
    for path in sorted((data / "spam").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            yield f"messages, {path.stem}", [row["Text"] for row in csv.DictReader(file)]
    if (instructions := data / "raw" / "instruction-data.json").is_file():
        entries = read_json(instructions)
        for key in ("instruction", "input", "output"):
            yield f"instructions, {key}", [entry[key] for entry in entries]
