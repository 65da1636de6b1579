"""Requests to the served models, checked: limits, parameters, and refusals.

A refusal is HTTP status 400 with one sentence that names the row or the parameter.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation.sampling import PENALTIES, Sampling
from gpt_from_scratch.tracking.served.mlflow_requests import put_right

T = TypeVar("T")
log = logging.getLogger(__name__)

put_right()

MOST_ROWS = 1000
LONGEST_TEXT = 10_000
"""Characters of one text: a longer one fits no model, and is refused before it is tokenised."""

MOST_NEW_TOKENS = 1024
HIGHEST_TEMPERATURE = 100.0
MOST_STOPS, LONGEST_STOP = 16, 100
SAMPLING_DEFAULTS: dict[str, int | float | list[str]] = {
    **{"max_new_tokens": 60, "temperature": 0.0, "top_k": 0, "seed": 123},
    **{"top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "stop": []},
}
"""Greedy, as the book's examples. `top_k` 0 draws among all tokens; `stop` is a list of texts."""


class Refused(MlflowException):
    """A request that cannot be met: HTTP status 400, and one sentence.

    MLflow's server puts the whole request in front of an error's message, however long; here it is removed.
    """

    def __init__(self, message: str, error_code: int = INVALID_PARAMETER_VALUE) -> None:
        super().__init__(message, error_code=error_code)

    @property
    def message(self) -> str:
        """The sentence."""
        return self._message

    @message.setter
    def message(self, text: str) -> None:
        self._message = text.rpartition("\nError: ")[2]


def texts(rows: pd.DataFrame, name: str, *, may_be_empty: bool = False) -> list[str]:
    """Return a column's texts; empty ones for a missing column that may be empty.

    Raises:
        Refused: when there are too many, or one is missing, empty or too long.
    """
    if not 1 <= len(rows) <= MOST_ROWS:
        raise Refused(f"expected 1 to {MOST_ROWS} rows, found {len(rows)}")
    column = list(rows[name]) if name in rows or not may_be_empty else [""] * len(rows)
    found = ["" if may_be_empty and pd.api.types.is_scalar(value) and pd.isna(value) else value for value in column]
    for row, text in enumerate(found, start=1):
        if not isinstance(text, str) or not (text.strip() or may_be_empty):
            raise Refused(f"row {row}, {name}: expected a text, found none")
        if len(text) > LONGEST_TEXT:
            raise Refused(f"row {row}, {name}: expected at most {LONGEST_TEXT} letters, found {len(text)}")
    return found


def sampling_of(params: Mapping[str, Any] | None) -> tuple[int, Sampling]:
    """Return the maximum number of new tokens and the sampling that a request asks for, or their defaults.

    Raises:
        Refused: when a parameter is out of range.
    """
    given = {name: value for name, value in (params or {}).items() if value is not None}  # null: as left out
    values = {**SAMPLING_DEFAULTS, **given}
    for name, low, high in (
        ("max_new_tokens", 1, MOST_NEW_TOKENS),
        ("temperature", 0, HIGHEST_TEMPERATURE),
        ("top_k", 0, 2**31 - 1),
        ("seed", 0, 2**32 - 1),
        ("top_p", 0, 1),
        ("min_p", 0, 1),
        ("repetition_penalty", *PENALTIES),
    ):
        if not low <= values[name] <= high:
            raise Refused(f"{name}: expected {low} to {high}, found {values[name]}")
    stop = (*values["stop"],)
    if len(stop) > MOST_STOPS or not all(isinstance(text, str) and len(text) <= LONGEST_STOP for text in stop):
        raise Refused(f"stop: expected at most {MOST_STOPS} texts of {LONGEST_STOP} letters, found others")
    shares = (float(values[name]) for name in ("top_p", "min_p", "repetition_penalty"))
    try:
        sampling = Sampling(
            float(values["temperature"]), int(values["top_k"]) or None, int(values["seed"]), *shares, stop
        )
    except InputError as error:
        raise Refused(str(error)) from None
    return int(values["max_new_tokens"]), sampling


def guarded(predict: Callable[..., T]) -> Callable[..., T]:
    """Return a model's `predict` that keeps an unexpected error's traceback, with its paths, in the server's log."""

    @functools.wraps(predict)
    def answer(*arguments: Any, **options: Any) -> T:
        try:
            return predict(*arguments, **options)
        except MlflowException:
            raise
        except Exception:
            log.exception("a request failed")
            raise Refused("the model failed; the server's log says why", INTERNAL_ERROR) from None

    return answer


def check_rows(check: Callable[[T], object], rows: Sequence[T]) -> None:
    """Call a function with each row.

    Raises:
        Refused: naming the row, for an `InputError`.
    """
    for row, value in enumerate(rows, start=1):
        try:
            check(value)
        except InputError as error:
            raise Refused(f"row {row}, {error}") from None
