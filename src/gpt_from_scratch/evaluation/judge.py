"""A larger model as the judge of answers (chapter 7, section 7.8), behind any OpenAI-compatible chat endpoint.

What a judge says is not the same on every machine: its scores belong to the results only where one is configured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pandas as pd

from gpt_from_scratch.data.instructions.entries import Entry, format_conversation
from gpt_from_scratch.evaluation.endpoint import Endpoint

if TYPE_CHECKING:
    from gpt_from_scratch.params import sections

KEY_VARIABLE = "GPT_JUDGE_KEY"
_NUMBER = re.compile(r"[0-9]{1,3}")


class Judge:
    """One judge; its key stands in the environment's GPT_JUDGE_KEY.

    Args:
        settings: name, address, model and seed.
        waiting: `answer_seconds` and `pause_seconds`, see `Endpoint`.

    Raises:
        InputError: when the key cannot stand in a header.
    """

    def __init__(self, settings: sections.JudgeParams, **waiting: float) -> None:
        self.name, self._seed = settings.name, settings.seed
        self._endpoint = Endpoint(f"judge {self.name}", settings.url, settings.model, KEY_VARIABLE, **waiting)

    def check(self) -> None:
        """Ask for a number, so that a judge that is away, refuses, or has no such model is noticed at once.

        Raises:
            InputError: when nothing that could be a chat's reply comes.
        """
        self._endpoint.reply("Respond with the integer number 100 only.", self._seed)

    def score(self, entry: Entry, answer: str) -> int | None:
        """Return the judge's score of an answer, from 0 to 100; None when its reply is anything but such a number.

        An answer without a word gets 0 and is not asked about, as in the book.

        Raises:
            InputError: when the judge does not answer, also not when asked again.
        """
        if not answer.strip():
            return 0
        reply = self._endpoint.reply(judging_prompt(entry, answer), self._seed).strip()
        score = int(reply) if _NUMBER.fullmatch(reply) else None
        return None if score is None or score > 100 else score


def judging_prompt(entry: Entry, answer: str) -> str:
    """Return what a judge is asked: the book's question, with its scale, in other words.

    The instruction stands in it in Alpaca's style, however the model was asked, so that scores can be compared.
    """
    return (
        f"Here is the input `{format_conversation(entry)}`, its correct output `{entry['output']}`, and the response "
        f"of a model `{answer}`. Score the model's response from 0 to 100, where 100 is best. "
        "Respond with the integer number only."
    )


def scores_of(
    judge: Judge,
    entries: Sequence[Entry],
    answers: Sequence[str],
    progress: Callable[[int], object] = lambda done: None,
) -> list[int | None]:
    """Return a judge's score of every answer; see `Judge.score`."""
    found = []
    for entry, answer in zip(entries, answers, strict=True):
        found.append(judge.score(entry, answer))
        progress(1)
    return found


def judged(scores: Mapping[str, Sequence[int | None]]) -> dict[str, Any]:
    """Return the figures of all judges' scores: `judges`, and `judge_correlations` between each two of them.

    A judge has `mean` (None without any score), `scored` and `unparsable`, which together are the answers. Two have
    Pearson's and Spearman's correlation over the answers that both scored, None where one of them always says the
    same.
    """
    judges = {}
    for name, given in scores.items():
        valid = [score for score in given if score is not None]
        judges[name] = {
            "mean": sum(valid) / len(valid) if valid else None,
            "scored": len(valid),
            "unparsable": len(given) - len(valid),
        }
    frame = pd.DataFrame(scores, dtype=float)
    return {
        "judges": judges,
        "judge_correlations": {
            " and ".join(pair): _correlations(frame[list(pair)].dropna()) for pair in combinations(scores, 2)
        },
    }


def _correlations(both: pd.DataFrame) -> dict[str, Any]:
    if (both.nunique() < 2).any():
        return {"responses": len(both), "pearson": None, "spearman": None}
    pearson, spearman = (float(frame.corr().iloc[0, 1]) for frame in (both, both.rank()))
    return {"responses": len(both), "pearson": pearson, "spearman": spearman}
