"""Types of the fields of params.yaml: numbers, names, paths, words; and the base class of its sections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import core_schema

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _number(value: Any) -> Any:
    """Read `3e-4`, which YAML 1.1 takes for text because it has no point, as the number that was meant."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


@dataclass(frozen=True)
class Word:
    """A word that means None in the file, such as `longest`: DVC writes `null` as an empty value.

    Annotates a type with None; null and an empty value are refused.
    """

    word: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            self._read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: self.word if value is None else value
            ),
        )

    def _read(self, value: Any, read: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if value is None:
            raise ValueError(f"Input should be a value, or the word {self.word}")
        try:
            return None if value == self.word else read(value)
        except ValidationError as error:
            raise ValueError(f"{error.errors()[0]['msg']}, or the word {self.word}") from None


Flag = Annotated[bool, Field(strict=True)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0.0)]
NotNegative = Annotated[Number, Field(ge=0.0)]
Fraction = Annotated[Number, Field(gt=0.0, lt=1.0)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
DropRate = Annotated[Number, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
VocabSize = Annotated[int, Field(ge=257, le=65536, strict=True)]
"""All bytes and `<|endoftext|>` at least; two bytes hold an id of a large corpus."""
CountOrZero = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
"""A count, or 0 where there is none."""
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Text = Annotated[str, Field(min_length=1)]
NewToken = Annotated[str, Field(min_length=1, max_length=100)]
Size = Annotated[str, Field(pattern=r"^(124M|355M|774M|1558M|tiny|custom)$")]
Base = Annotated[str, Field(pattern=r"^(pretrain|gpt2/(124M|355M|774M|1558M|tiny|custom))$")]


_NAME_PART = r"\w[\w .()+,=@-]*"
_GLOB_PART = r"[\w*?\[][\w .()+,=@*?!\[\]-]*"
DataPath = Annotated[str, Field(pattern=rf"^data(/{_NAME_PART})+$", max_length=300)]
BasePath = Annotated[str, Field(pattern=rf"^(data/bases(/{_NAME_PART})+)?$", max_length=300)]
DataGlob = Annotated[str, Field(pattern=rf"^{_GLOB_PART}(/{_GLOB_PART})*$", max_length=300)]
# A number of a column, without quotes, is a whole number to YAML.
Column = Annotated[
    str, Field(min_length=1, max_length=200), BeforeValidator(lambda value: str(value) if type(value) is int else value)
]
EncodingName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=40)]
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
    """A part of params.yaml: without unknown keys, read-only; a key that is left out has the field's default.

    The docstring of a section and the descriptions of its fields are the comments of the file, see `commented`.

    Attributes:
        FIRST: fields that are often changed; they stand first in the file. All of them, if there are none.
    """

    FIRST: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _may_be_empty(cls, content: Any) -> Any:
        return {} if content is None else content


def param(default: Any, description: str, **limits: Any) -> Any:
    """Return a field with its default and its comment in params.yaml; `limits` are pydantic's."""
    return Field(default, description=description, **limits)
