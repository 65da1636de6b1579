"""A byte-level BPE in one `tokenizer.json`, as the library tokenizers writes it, made into GPT-2's two files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.writing import read_json, write_text
from gpt_from_scratch.tokenizer.added import END_OF_TEXT


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
    added = content.get("added_tokens") if isinstance(content.get("added_tokens"), list) else []
    end = [token for token in added if isinstance(token, dict) and token.get("content") == END_OF_TEXT]
    vocabulary = model["vocab"] | ({END_OF_TEXT: end[0].get("id")} if end else {})
    lines = [" ".join(map(str, pair)) if isinstance(pair, list) else str(pair) for pair in merges]
    write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *lines, ""]))


def _part(content: Any, key: str, path: Path) -> dict[str, Any]:
    part = content.get(key) if isinstance(content, dict) else None
    if not isinstance(part, dict):
        raise InputError(f"{path}: {key}: expected a JSON object, found {shown(part)}")
    return part
