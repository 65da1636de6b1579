"""The fetched data, checked again before they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpt_from_scratch.data.raw.sources import UPSTREAM
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import read_json, sha256

_CURE = "dvc repro -f fetch_data brings it back"


def raw_file(raw: Path, name: str) -> Path:
    """Return the path of a fetched file, or of a folder of them, whose content is still what was fetched.

    Args:
        raw: the folder data/raw, with its `sources.json`.
        name: a file's place in it, as in `sources.UPSTREAM`; or the folder `bpe`.

    Raises:
        InputError: when a file or its hash is missing, or when its content is not what `sources.json` notes and, for
            upstream's data, what is pinned.
        KeyError: when no such file is ever fetched.
    """
    places = [place for place in UPSTREAM if place == name or place.startswith(f"{name}/")]
    if not places:
        raise KeyError(name)
    notes = read_json(raw / "sources.json")
    for place in places:
        path = raw / place
        if not path.is_file():
            raise InputError(f"{path}: file not found; {_CURE}")
        found = sha256(path)
        for expected, origin in _expected(raw / "sources.json", notes, place):
            if found != expected:
                raise InputError(f"{path}: expected sha256 {expected} ({origin}), found {found}; {_CURE}")
    return raw / name


def named_file(raw: Path, path: str) -> Path:
    """Return the file that a parameter names, such as `data/alpaca.json`: one under data/raw by `raw_file`.

    Args:
        raw: the folder data/raw.
        path: relative to the project's folder.

    Raises:
        InputError: when there is no such file, or as `raw_file` does.
    """
    folder, _, name = path.partition("data/raw/")
    if folder or not name:
        if not (found := raw.parents[1] / path).is_file():
            raise InputError(f"{found}: file not found")
        return found
    try:
        return raw_file(raw, name)
    except KeyError:
        raise InputError(
            f"{path}: expected a file that fetch_data brings ({', '.join(UPSTREAM)}), or one elsewhere under data/"
        ) from None


def _expected(path: Path, notes: Any, place: str) -> list[tuple[str, str]]:
    """Return the hashes that a file must have, each with where it stands."""
    match notes:
        case {"data": "sample", "sha256": {**hashes}} if place in hashes:
            return [(hashes[place], str(path))]
        case {"data": "upstream", "sha256": {**hashes}} if place in hashes:
            return [(hashes[place], str(path)), (UPSTREAM[place].sha256 or hashes[place], "the pinned one")]
    raise InputError(
        f"{path}: expected data: sample or upstream, and the sha256 of {place}, found {str(notes)[:80]}; {_CURE}"
    )
