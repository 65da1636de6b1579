"""A larger model as the judge of answers (chapter 7, section 7.8), behind any OpenAI-compatible chat endpoint.

Ollama's, which the book asks, is `http://localhost:11434/v1`. What a judge says is not the same on every machine: its
scores belong to the results only where one is configured.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd
import requests
import urllib3
from requests.adapters import HTTPAdapter

from gpt_from_scratch.data.instructions.entries import Entry
from gpt_from_scratch.data.instructions.prompts import format_prompt
from gpt_from_scratch.errors import InputError, reason, shown
from gpt_from_scratch.files.local_addresses import bypass_proxies

if TYPE_CHECKING:
    from gpt_from_scratch.params import sections

KEY_VARIABLE = "GPT_JUDGE_KEY"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 180.0
"""Time for one answer: a judge that runs on this machine first loads its model."""
TRIES_AGAIN = 4
PAUSE_SECONDS = 1.0
"""The pause before the third try, the second is at once; each later pause is twice as long as the one before it."""
LONGEST_PAUSE_SECONDS = 60
LARGEST_REPLY = 2**20
_PASSING = (408, 429, 500, 502, 503, 504)
_NUMBER = re.compile(r"[0-9]{1,3}")


class Judge:
    """One judge.

    The key in the environment's GPT_JUDGE_KEY goes into the request's header and nowhere else, and only over https or
    to this machine.

    Args:
        settings: name, address, model and seed.
        answer_seconds, pause_seconds: see `ANSWER_SECONDS` and `PAUSE_SECONDS`.

    Raises:
        InputError: when the key cannot stand in a header.
    """

    def __init__(
        self,
        settings: sections.JudgeParams,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.name = settings.name
        self._settings, self._answer_seconds = settings, answer_seconds
        self._url = f"{settings.url.rstrip('/')}/chat/completions"
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"{KEY_VARIABLE} in the environment: expected a key of printable ASCII characters")
        here = _is_here(self._url)
        self._key = key if here or self._url.startswith("https:") else ""
        bypass_proxies()
        self._session = requests.Session()
        self._session.trust_env = not here  # a proxy is for other machines
        # Asking twice does no harm, so that a POST is tried again too; what is away or hangs, not as often.
        retry = urllib3.Retry(
            total=TRIES_AGAIN,
            connect=2,
            read=1,
            status_forcelist=_PASSING,
            allowed_methods=["POST"],
            backoff_factor=pause_seconds / 2,
            backoff_max=LONGEST_PAUSE_SECONDS,
            retry_after_max=LONGEST_PAUSE_SECONDS,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def check(self) -> None:
        """Ask for a number, so that a judge that is away, refuses, or has no such model is noticed at once.

        Raises:
            InputError: when nothing that could be a chat's reply comes.
        """
        self._reply("Respond with the integer number 100 only.")

    def score(self, entry: Entry, answer: str) -> int | None:
        """Return the judge's score of an answer, from 0 to 100; None when its reply is anything but such a number.

        An answer without a word gets 0 and is not asked about, as in the book.

        Raises:
            InputError: when the judge does not answer, also not when asked again.
        """
        if not answer.strip():
            return 0
        reply = self._reply(judging_prompt(entry, answer)).strip()
        score = int(reply) if _NUMBER.fullmatch(reply) else None
        return None if score is None or score > 100 else score

    def _reply(self, prompt: str) -> str:
        body = {
            "model": self._settings.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "seed": self._settings.seed,
            "stream": False,
        }
        timeout = (CONNECT_SECONDS, self._answer_seconds)
        try:
            # With `auth`, no password is looked for in ~/.netrc; a redirect would take the entries elsewhere.
            with self._session.post(
                self._url, json=body, timeout=timeout, auth=self._authorised, allow_redirects=False, stream=True
            ) as response:
                return self._content(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._away(f"found {_cause(error)}") from None

    def _authorised(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _content(self, response: requests.Response) -> str:
        # Not all that a host likes to send, and not for as long as it likes.
        text = response.raw.read(LARGEST_REPLY, decode_content=True).decode("utf-8", "replace")
        if response.status_code != 200:
            hint = f" (is {KEY_VARIABLE} set?)" if response.status_code in (401, 403) else f": {self._hidden(text)}"
            raise self._away(f"found status {response.status_code} {response.reason}{hint}")
        try:
            content = json.loads(text)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self._away(f"found {self._hidden(text)}") from None
        return content if isinstance(content, str) else ""  # null where a judge refuses to say anything

    def _hidden(self, text: str) -> str:
        return shown(text.replace(self._key, "***") if self._key else text)

    def _away(self, found: str) -> InputError:
        return InputError(f"judge {self.name}: {self._url}: expected an answer of {self._settings.model}, {found}")


def judging_prompt(entry: Entry, answer: str) -> str:
    """Return what a judge is asked: the book's question, with its scale, in other words.

    The instruction stands in it in Alpaca's style, however the model was asked, so that scores can be compared.
    """
    return (
        f"Here is the input `{format_prompt(entry)}`, its correct output `{entry['output']}`, and the response of a "
        f"model `{answer}`. Score the model's response from 0 to 100, where 100 is best. "
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


def _is_here(url: str) -> bool:
    """Return whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _cause(error: Exception) -> str:
    """Return the error below the layers that wrap it."""
    inner = error.args[0] if error.args else error
    return reason(getattr(inner, "reason", None) or inner) or type(error).__name__
