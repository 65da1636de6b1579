"""What the fields of params.yaml are made of: kinds of numbers, names and paths, and the section."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _number(value: Any) -> Any:
    """Read `3e-4`, which YAML 1.1 takes for text because it has no point, as the number that was meant."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Fraction = Annotated[Number, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Size = Annotated[str, Field(pattern=r"^(124M|355M|774M|1558M|tiny|custom)$")]
Base = Annotated[str, Field(pattern=r"^(pretrain|gpt2/(124M|355M|774M|1558M|tiny|custom))$")]


_NAME_PART = r"\w[\w .()+,=@-]*"
_GLOB_PART = r"[\w*?\[][\w .()+,=@*?!\[\]-]*"
DataPath = Annotated[str, Field(pattern=rf"^data(/{_NAME_PART})+$", max_length=300)]
BasePath = Annotated[str, Field(pattern=rf"^(data/bases(/{_NAME_PART})+)?$", max_length=300)]
DataGlob = Annotated[str, Field(pattern=rf"^{_GLOB_PART}(/{_GLOB_PART})*$", max_length=300)]
Column = Annotated[str, Field(min_length=1, max_length=200)]
JudgeName = Annotated[str, Field(pattern=r"^\w[\w-]*$", max_length=64)]
# A name and password in it would end up in params.yaml, dvc.lock and MLflow.
Endpoint = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$", max_length=300)]
BOOK_TEXT = "data/raw/text.txt"
"""The text that `fetch_data` provides, the book's."""
BOOK_MESSAGES = "data/raw/SMSSpamCollection"
"""The labelled messages that `fetch_data` provides, the book's."""
BOOK_INSTRUCTIONS = "data/raw/instruction-data.json"
"""The instructions that `fetch_data` provides, the book's."""


class Section(BaseModel):
    """A part of params.yaml: complete, without unknown keys, and read-only."""

    model_config = ConfigDict(extra="forbid", frozen=True)
