"""A download that is not finished: what was received so far, kept for the next try, also that of another process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from gpt_from_scratch.files.writing import write_json

CONFIRM_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Note:
    """The file whose first bytes were received.

    Attributes:
        url: the address that was asked.
        validator: the host's mark of this version of the file, an ETag or a date; empty: it gave none to go on by.
        total: bytes of the whole download; None where the host does not say.
        confirmed: bytes that have reached the disk.
    """

    url: str
    validator: Annotated[str, Field(pattern=r"^([\x21-\x7e][\x20-\x7e]*)?$")]
    total: Annotated[int, Field(ge=0)] | None
    confirmed: Annotated[int, Field(ge=0)] = 0


class Part:
    """The received bytes in a folder `.NAME.part` beside the destination, with a note of what they are.

    For one process at a time; `folder` takes other temporary files too, which `tidy` removes.
    """

    def __init__(self, destination: Path) -> None:
        self.folder = destination.with_name(f".{destination.name}.part")
        self.content = self.folder / "received"
        self._note = self.folder / "received.json"

    def known(self, url: str | None = None) -> Note | None:
        """Return the note of bytes that a download can go on from: that of `url`, or of any address."""
        try:
            note = TypeAdapter(Note).validate_json(self._note.read_bytes(), strict=True)
            size = self.content.stat().st_size
        except (OSError, ValueError):
            return None
        usable = note.validator and 0 < note.confirmed <= size and url in (None, note.url)
        return note if usable else None

    def receive(self, chunks: Iterable[bytes], note: Note) -> None:
        """Append to the bytes that `note` confirms, or begin; whatever ends this, what has come is kept and noted.

        Raises:
            OSError: when it cannot be written; and what `chunks` raises.
        """
        self.folder.mkdir(exist_ok=True)
        with self.content.open("ab", buffering=0) as file:
            file.truncate(note.confirmed)
            try:
                unconfirmed = 0
                for chunk in chunks:
                    rest = memoryview(chunk)
                    while rest:
                        rest = rest[file.write(rest) :]
                    unconfirmed += len(chunk)
                    if unconfirmed >= CONFIRM_BYTES:
                        self._confirm(file, note)
                        unconfirmed = 0
            finally:
                self._confirm(file, note)

    def _confirm(self, file: FileIO, note: Note) -> None:
        # A power failure can leave a file long enough but empty: only what the disk has confirmed is gone on from.
        os.fsync(file.fileno())
        if note.validator:
            write_json(self._note, asdict(replace(note, confirmed=os.fstat(file.fileno()).st_size)))

    def tidy(self) -> None:
        """Remove all but what a download can go on from."""
        if self.known() is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for path in self.folder.iterdir():
            if path not in (self.content, self._note):
                path.unlink()

    def forget(self) -> None:
        """Remove what was received."""
        self._note.unlink(missing_ok=True)
        self.content.unlink(missing_ok=True)
