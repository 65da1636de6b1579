"""Downloading as the chapters do it: any address, errors of `urllib` as the chapters' code expects them.

The pipeline's own `data.download` knows its files' hashes; a reader's address has none.
"""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from gpt_from_scratch.files.writing import share

TIMEOUT_SECONDS = 60
CHUNK_BYTES = 2**20


def download_file(url: str, destination: str | Path, backup_url: str | None = None) -> None:
    """Download a file, unless one of the size that the host states is there already.

    Raises:
        OSError: when neither address gives the whole file (`urllib.error.URLError`, or a timeout). What stood at
            `destination` stays. `llms_from_scratch` 1.0.19 prints instead and leaves half a file.
    """
    try:
        save(url, destination, keep_same_size=True)
    except OSError as error:
        if backup_url is None:
            raise
        print(f"{url} failed ({error}); trying {backup_url}")
        save(backup_url, destination, keep_same_size=True)


def save(url: str, destination: str | Path, *, keep_same_size: bool = False, limit: int | None = None) -> None:
    """Download to a temporary file beside `destination`, which takes its place when it is whole.

    Args:
        keep_same_size: leave a file that has the size that the host states.
        limit: the most bytes that the file may have; any number if None.

    Raises:
        OSError: when the download fails, or is larger.
    """
    from tqdm import tqdm

    destination = Path(destination)
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        size = int(getattr(response, "headers", {}).get("Content-Length") or 0)
        if keep_same_size and destination.is_file() and destination.stat().st_size == size:
            print(f"{destination} is there already, with the right size")
            return
        destination.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.")
        try:
            with (
                os.fdopen(descriptor, "wb") as file,
                tqdm.wrapattr(file, "write", total=size, desc=destination.name) as counted,
            ):
                while chunk := response.read(CHUNK_BYTES):
                    counted.write(chunk)
                    if limit is not None and file.tell() > limit:
                        raise urllib.error.URLError(f"{url}: expected at most {limit} bytes, found more")
            found = Path(temporary).stat().st_size
            if size and found != size:
                raise urllib.error.ContentTooShortError(f"{url}: expected {size} bytes, found {found}", b"")
            share(Path(temporary))
            Path(temporary).replace(destination)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
