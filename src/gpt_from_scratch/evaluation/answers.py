"""Scores of answers to instructions (chapter 7) that need no judge, from their texts alone: matches and ROUGE-L."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_from_scratch.data.instructions.entries import Entry


def answer_metrics(entries: Sequence[Entry], texts: Sequence[str]) -> dict[str, float]:
    """Return the share of exact answers, as they are and but for case and signs, and the mean ROUGE-L."""
    scores = answer_scores(entries, texts)
    return {"entries": len(texts), **{name: sum(values) / len(values) for name, values in scores.items()}}


def answer_scores(entries: Sequence[Entry], texts: Sequence[str]) -> dict[str, list[float]]:
    """Return the scores of each answer whose means are `answer_metrics`; a match is a 1."""
    pairs = [(entry["output"].strip(), text) for entry, text in zip(entries, texts, strict=True)]
    return {
        "exact_match": [a == b for a, b in pairs],
        "loose_match": [words(a) == words(b) for a, b in pairs],
        "rouge_l": [rouge_l(a, b) for a, b in pairs],
    }


def words(text: str) -> list[str]:
    """Return a text's words in lower case."""
    return re.findall(r"\w+", text.lower())


def rouge_l(reference: str, candidate: str) -> float:
    """Return ROUGE-L: the F-measure of the longest common subsequence of words (Lin 2004), without stemming.

    Two texts without words agree fully; one against none not at all.
    """
    expected, found = words(reference), words(candidate)
    if not expected or not found:
        return float(expected == found)
    row = [0] * (len(found) + 1)
    for word in expected:
        previous = row
        row = [0]
        for column, other in enumerate(found, start=1):
            row.append(previous[column - 1] + 1 if word == other else max(previous[column], row[-1]))
    return 2 * row[-1] / (len(expected) + len(found))
