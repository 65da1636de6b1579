"""Tokens added to a byte-pair encoding, such as `<|pad|>`: found in a text before anything is merged.

They work as in Hugging Face's tokenizers, whose files they come from (`AddedToken` of the library tokenizers).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import regex
import tiktoken
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.writing import read_json

END_OF_TEXT = "<|endoftext|>"

_LETTER = r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]"
"""What is part of a word for the library tokenizers, which is written in Rust; Python's own classes differ."""


class AddedToken(BaseModel):
    """A token that is no result of merges, under the names of Hugging Face's files.

    Attributes:
        single_word: not found inside of a word.
        lstrip, rstrip: takes the white space before, or behind it.
        normalized: looked for after the others.
        special: what Hugging Face's `decode` may leave out.
    """

    model_config = ConfigDict(frozen=True, strict=True)
    content: str = Field(min_length=1)
    id: int = Field(ge=0)
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression of its places in a text, with one group."""
        word = (f"(?<!{_LETTER})", f"(?!{_LETTER})") if self.single_word else ("", "")
        before, behind = (r"\p{White_Space}*" if strip else "" for strip in (self.lstrip, self.rstrip))
        return f"{before}{word[0]}({regex.escape(self.content)}){word[1]}{behind}"


class AddedEncoding(tiktoken.Encoding):
    """An encoding that splits off its added tokens first; `<|endoftext|>` alone has to be allowed, as in tiktoken."""

    def __init__(self, added: Sequence[AddedToken], **given: Any) -> None:
        super().__init__(**given)
        self.added = added
        # Of several at one place the longest counts.
        longest_first = sorted(added, key=lambda token: -len(token.content))
        groups = ([token for token in longest_first if token.normalized is late] for late in (False, True))
        self._splitters = [
            (regex.compile("|".join(token.pattern for token in group)), [token.id for token in group])
            for group in groups
            if group
        ]

    def encode(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | Collection[str] = frozenset(),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> list[int]:
        """Return a text's token ids; the arguments concern `<|endoftext|>` alone."""
        allowed = {END_OF_TEXT} & ({END_OF_TEXT} if allowed_special == "all" else {*allowed_special})
        refused = {END_OF_TEXT} - allowed if disallowed_special == "all" else {*disallowed_special}
        ids: list[int] = []
        for piece in self._split(text):
            if isinstance(piece, int):
                ids.append(piece)
            else:
                ids += super().encode(piece, allowed_special=allowed, disallowed_special=refused)
        return ids

    def encode_ordinary(self, text: str) -> list[int]:
        """Return a text's token ids; `<|endoftext|>` in it is read as plain text."""
        return self.encode(text, disallowed_special=())

    def encode_ordinary_batch(self, text: list[str], *, num_threads: int = 8) -> list[list[int]]:
        """Return the token ids of many texts, as `encode_ordinary` does."""
        return [self.encode_ordinary(one) for one in text]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process is made of."""
        return {**super().__getstate__(), "added": self.added}

    def _split(self, text: str) -> Iterable[str | int]:
        """Return the texts between added tokens, and the tokens' ids."""
        pieces: list[str | int] = [text]
        for pattern, ids in self._splitters:
            parts = ([piece] if isinstance(piece, int) else _parts(piece, pattern, ids) for piece in pieces)
            pieces = list(chain.from_iterable(parts))
        return pieces


def _parts(text: str, pattern: regex.Pattern[str], ids: Sequence[int]) -> Iterator[str | int]:
    end = 0
    for found in pattern.finditer(text):
        if found.start() > end:
            yield text[end : found.start()]
        yield ids[found.lastindex - 1]
        end = found.end()
    if end < len(text):
        yield text[end:]


def read_added(folder: Path) -> list[AddedToken]:
    """Return the added tokens of a model folder, wherever transformers keeps them, but for `<|endoftext|>`.

    Places: `tokenizer.json`, `added_tokens_decoder` in `tokenizer_config.json`, `added_tokens.json`.

    Raises:
        InputError: when an entry is not valid, or two contradict each other.
    """
    rows: list[tuple[Path, Any]] = []
    if (path := Path(folder) / "tokenizer.json").is_file():
        rows += [(path, row) for row in _entries(read_json(path), "added_tokens", list, path)]
    if (path := Path(folder) / "tokenizer_config.json").is_file():
        for key, row in _entries(read_json(path), "added_tokens_decoder", dict, path).items():
            rows.append((path, {**row, "id": int(key)} if isinstance(row, dict) and key.isdecimal() else row))
    if (path := Path(folder) / "added_tokens.json").is_file():
        contents = _entries({"tokens": read_json(path)}, "tokens", dict, path)
        rows += [(path, {"content": content, "id": number}) for content, number in contents.items()]
    found: dict[str, AddedToken] = {}
    for path, row in rows:
        try:
            token = AddedToken.model_validate(row)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(["added token", *map(str, problem["loc"])])
            raise InputError(f"{path}: {where}: {problem['msg']}, found {shown(problem['input'])}") from None
        first = found.setdefault(token.content, token)
        same_id = next((one.content for one in found.values() if one.id == token.id), token.content)
        if first.id != token.id or same_id != token.content:
            raise InputError(
                f"{path}: added token {shown(token.content)}: expected one id of its own, found {token.id}"
            )
    found.pop(END_OF_TEXT, None)
    return sorted(found.values(), key=lambda token: token.id)


def as_decoder(added: Iterable[AddedToken]) -> dict[str, dict[str, Any]]:
    """Return added tokens as `added_tokens_decoder` of a `tokenizer_config.json`."""
    return {str(token.id): token.model_dump(exclude={"id"}) for token in added}


def _entries(content: Any, key: str, kind: type, path: Path) -> Any:
    found = (content.get(key) if isinstance(content, dict) else None) or kind()
    if not isinstance(found, kind):
        raise InputError(f"{path}: {key}: expected a JSON {'list' if kind is list else 'object'}, found {shown(found)}")
    return found
