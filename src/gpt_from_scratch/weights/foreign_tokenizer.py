"""The tokenizer of a model folder that others made: its two files, the one `tokenizer.json`, or none."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.writing import read_json, write_text
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT, load_tokenizer

_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


@contextmanager
def tokenizer_of(folder: Path, vocab_size: int, default: Path | None = None) -> Iterator[Path]:
    """Give a folder with a model folder's tokenizer as two files, for as long as the block lasts.

    Args:
        folder: the model's.
        vocab_size: number of the model's token vectors.
        default: folder of a tokenizer for a model that comes without one, taken if the sizes are the same.

    Raises:
        InputError: when there is no tokenizer and the default does not fit, or `tokenizer.json` is not GPT-2's kind.
    """
    folder = Path(folder)
    if any((folder / name).exists() for names in _FILES for name in names):
        yield folder
    elif (folder / "tokenizer.json").is_file():
        with tempfile.TemporaryDirectory() as temporary:
            write_two_files(folder / "tokenizer.json", Path(temporary))
            yield Path(temporary)
    else:
        wanted = f"{folder}: expected a tokenizer (vocab.json and merges.txt, or tokenizer.json), found none"
        if default is None:
            raise InputError(wanted)
        size = load_tokenizer(default).n_vocab
        if size != vocab_size:
            raise InputError(f"{wanted}; {default} has {size} tokens and the model {vocab_size}")
        yield default


def write_two_files(path: Path, folder: Path) -> None:
    """Write vocabulary and merges of a `tokenizer.json` as `vocab.json` and `merges.txt` into a folder.

    Raises:
        InputError: when it is no byte-level BPE, or does to a text what GPT-2's does not.
    """
    content = read_json(path)
    model, splits = _part(content, "model", path), _part(content, "pre_tokenizer", path)
    merges = model.get("merges")
    expected = {
        "model.type": (model.get("type", "BPE"), "BPE"),
        "model.vocab": (isinstance(model.get("vocab"), dict), True),
        "model.merges": (isinstance(merges, list), True),
        "model.byte_fallback": (bool(model.get("byte_fallback")), False),
        "model.ignore_merges": (bool(model.get("ignore_merges")), False),
        "normalizer": (content.get("normalizer"), None),
        "pre_tokenizer.type": (splits.get("type"), "ByteLevel"),
        "pre_tokenizer.add_prefix_space": (splits.get("add_prefix_space", False), False),
        "pre_tokenizer.use_regex": (splits.get("use_regex", True), True),
    }
    for key, (found, wanted) in expected.items():
        if found != wanted:
            raise InputError(f"{path}: {key}: expected {wanted}, as in GPT-2's tokenizer, found {shown(found)}")
    vocabulary = {**model["vocab"], **_added(content, path)}
    lines = [" ".join(map(str, pair)) if isinstance(pair, list) else str(pair) for pair in merges]
    write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *lines, ""]))


def _added(content: dict[str, Any], path: Path) -> dict[str, int]:
    """Return the token that ends a text, if it stands among those that were added to the vocabulary."""
    added = content.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise InputError(f"{path}: added_tokens: expected a list of objects")
    for token in added:
        if token.get("content") != END_OF_TEXT:
            raise InputError(f"{path}: added_tokens: expected {END_OF_TEXT} alone, found {shown(token.get('content'))}")
    return {token["content"]: token["id"] for token in added if type(token.get("id")) is int}


def _part(content: Any, key: str, path: Path) -> dict[str, Any]:
    part = content.get(key) if isinstance(content, dict) else None
    if not isinstance(part, dict):
        raise InputError(f"{path}: {key}: expected a JSON object, found {shown(part)}")
    return part
