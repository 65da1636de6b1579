"""Parameters as the text of params.yaml: every field, with its description as the comment."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import takewhile
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from gpt_from_scratch.files.writing import write_text
from gpt_from_scratch.params.plain_yaml import parse_yaml
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.params.types import Section

COLUMN = 30
"""Column of the comments; a value that reaches further moves its own to the right."""

SELDOM = "# Seldom changed:"
"""The line between the fields of `Section.FIRST` and the others."""


def write_comments(path: Path) -> None:
    """Write a parameter file again: the comments at its top, its values, the defaults of what it leaves out.

    Other comments of its own are lost.

    Raises:
        InputError: when the parameters are not valid.
    """
    params = load_params(path)
    top = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    write_text(path, "".join(f"{line}\n" for line in [*top, *commented(params)]))


def left_out(path: Path) -> list[str]:
    """Return the keys that a parameter file leaves out; DVC asks for those that dvc.yaml or `-S` names.

    Raises:
        InputError: when the parameters are not valid.
    """
    return list(_absent(load_params(path).model_dump(), parse_yaml(path.read_text(encoding="utf-8"), path)))


def _absent(complete: dict[str, Any], content: Any, prefix: str = "") -> Iterator[str]:
    for name, value in complete.items():
        if name not in (content or {}):
            yield prefix + name
        elif isinstance(value, dict):
            yield from _absent(value, content[name], f"{prefix}{name}.")


def commented(section: Section, indent: str = "") -> Iterator[str]:
    """Yield the lines of a section."""
    fields, values = type(section).model_fields, section.model_dump()
    others = [name for name in fields if name not in section.FIRST]
    for name in [*section.FIRST, *others]:
        if section.FIRST and name == others[0]:
            yield indent + SELDOM
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from [] if indent else [""]
            yield _line(f"{indent}{name}:", (value.__doc__ or "").split("\n")[0].removesuffix("."))
            yield from commented(value, f"{indent}  ")
        else:
            key, items = f"{indent}{name}:", values[name] if isinstance(value, list) else []
            yield _line(key if items else f"{key} {_written(values[name])}", _comment(fields[name]))
            yield from (f"{indent}- {_written(item)}" for item in items)


def _line(text: str, comment: str) -> str:
    return f"{text:<{COLUMN - 2}}  # {comment}"


def _comment(field: FieldInfo) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return "; ".join(filter(None, [" | ".join(choices), field.description]))


def _written(value: Any) -> str:
    """Return a value as YAML on one line; a float without exponent."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_written(item)}' for key, item in value.items())}}}"
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=inf).strip()[1:-1]
    return text if text.isprintable() else yaml.safe_dump(value, default_style='"', width=inf).strip()
