"""The folder `data/raw`: this project's sample, or the book's data from their hosts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from gpt_from_scratch.data.fetch.download import Downloads
from gpt_from_scratch.data.raw.sources import SAMPLE, UPSTREAM
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import new_folder, sha256, write_json


def fetch_raw_data(source: Literal["sample", "upstream"], root: Path, downloads: Downloads) -> dict[str, str]:
    """Put every file into `data/raw`, with `sources.json`, which says what each is, and return their SHA-256.

    Args:
        source: this project's sample, or the book's data.
        root: the project's folder.
        downloads: where files of the book are fetched to; an interrupted download is continued there.

    Raises:
        InputError: when a file is missing or cannot be fetched.
    """
    hashes = {}
    with new_folder(root / "data" / "raw") as raw:
        for place in SAMPLE:
            destination = raw / place
            destination.parent.mkdir(exist_ok=True)
            if source == "sample":
                kept = root / "data" / "sample" / SAMPLE[place]
                if not kept.is_file():
                    raise InputError(f"{kept}: file not found, though it is part of the project: git checkout {kept}")
            else:
                kept = downloads.folder / "data" / place
                downloads.fetch(UPSTREAM[place], kept)
            shutil.copyfile(kept, destination)
            hashes[place] = sha256(destination)
        write_json(raw / "sources.json", {"data": source, "sha256": hashes})
    return hashes
