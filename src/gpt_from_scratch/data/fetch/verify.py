"""Verification of a download: size, hash, and the one member of an archive."""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

from gpt_from_scratch.data.raw.sources import Source
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256, write_text

_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<error")


def complaint(source: Source, path: Path) -> str | None:
    """Return what is wrong with a file's content, or None."""
    size = path.stat().st_size
    if source.size is not None and size != source.size:
        return f"expected {source.size} bytes, found {size}"
    if source.sha256 is not None:
        found = sha256(path)
        return None if found == source.sha256 else f"expected sha256 {source.sha256}, found {found}"
    with path.open("rb") as file:
        start = file.read(200).lstrip()
    # A host's error page comes with status 200 too, and would be noted as the right content for ever.
    if start.lower().startswith(_PAGES):
        return f"expected {source.name}, found a page that begins with {start[:40]!r}"
    return None


def unpacked(source: Source, received: Path, folder: Path) -> Path:
    """Return the content of what was received: the file itself, or the archive's named member unpacked into `folder`.

    Raises:
        ValueError: when the archive is damaged, lacks the member, or has a larger one than is expected.
    """
    if source.member is None:
        return received
    content = folder / "member"
    unpack_member(received, source.member, content, source.limit if source.size is None else source.size)
    return content


def unpack_member(archive_path: Path, name: str, content: Path, limit: int) -> None:
    """Unpack one member of a zip archive, of at most `limit` bytes, to the file `content`.

    Raises:
        ValueError: when the archive is damaged, lacks the member, or has a larger one.
    """
    try:
        with zipfile.ZipFile(archive_path) as archive:
            _unpack(archive, name, content, limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # A damaged archive shows in any of these: RuntimeError is one that seems encrypted or packed in another way.
        raise ValueError(f"expected a zip archive with {name}, found a damaged one: {error}") from None


def pinned(source: Source, path: Path) -> Source:
    """Return the source with the hash that `note_hash` left beside `path`, where no hash is known beforehand.

    Raises:
        InputError: when that note is damaged.
    """
    note = hash_note(path)
    if source.sha256 is not None or not note.is_file():
        return source
    text = note.read_text(encoding="utf-8", errors="replace")
    if not (match := re.match(r"([0-9a-f]{64})\s", text)):
        raise InputError(f"{note}: expected the sha256 of {path.name}, found {text[:80]!r}; remove both files")
    return replace(source, sha256=match[1])


def note_hash(content: Path, path: Path) -> None:
    """Note a first download's hash beside the place `path` that it goes to; `sha256sum --check` reads it too."""
    write_text(hash_note(path), f"{sha256(content)}  {path.name}\n")


def hash_note(path: Path) -> Path:
    """Return the file that holds the hash of the first download of `path`."""
    return path.with_name(f"{path.name}.sha256")


def _unpack(archive: zipfile.ZipFile, name: str, content: Path, limit: int) -> None:
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"expected an archive with the member {name}, found none") from None
    if member.file_size > limit:
        raise ValueError(f"member {name}: expected at most {limit} bytes, found {member.file_size}")
    with archive.open(member) as packed, content.open("wb") as file:
        # The size that an archive declares may lie: never unpack more than is expected.
        file.write(packed.read(limit + 1))
