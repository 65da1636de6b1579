"""Lengths of the texts that the results come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpt_from_scratch.files.curves import read_rows
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import load_params


def length_rows(root: Path) -> list[dict[str, Any]]:
    """Return for each data set that is there: `name`, `texts`, and `shortest`, `median`, `longest` in characters."""
    rows = []
    for name, texts in _texts(root):
        lengths = sorted(map(len, texts))
        if lengths:
            middle = lengths[len(lengths) // 2]
            rows.append(
                {"name": name, "texts": len(texts), "shortest": lengths[0], "median": middle, "longest": lengths[-1]}
            )
    return rows


def _texts(root: Path) -> Iterator[tuple[str, Sequence[str]]]:
    params = load_params(root / "params.yaml")
    corpus = params.pretrain.corpus
    if corpus.is_book and (text := root / corpus.path).is_file():  # another one may be larger than the memory
        yield "text for pretraining", [text.read_text(encoding="utf-8")]
    for path in sorted((root / "data" / "spam").glob("*.csv")):
        yield f"messages, {path.stem}", [row["Text"] for row in read_rows(path)]
    if (instructions := root / params.instruct.data).is_file():
        entries = read_json(instructions)
        for key in ("instruction", "input", "output", "chosen", "rejected"):
            yield f"instructions, {key}", [entry[key] for entry in entries if key in entry]
