"""Fetching a file so that nothing wrong is ever found at its place."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pooch
import requests

from gpt_from_scratch.data.sources import Source
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files import sha256

log = logging.getLogger(__name__)

RETRIES = 2
TIMEOUT_SECONDS = 30


def download_all(sources: Iterable[Source], folder: Path, mirror: str | None = None) -> Path:
    """Fetch every source into `folder` under its own name and return the folder; see `fetch`."""
    for source in sources:
        fetch(source, folder / source.name, mirror)
    return folder


def fetch(source: Source, destination: Path, mirror: str | None = None) -> None:
    """Put a source's content at `destination`; what is there already and is right stays.

    The mirror is tried first, then the source's URLs in order, each several times. Whatever is fetched goes to a
    temporary file beside `destination` and takes its place only with the right size and hash.

    Args:
        mirror: a folder, or an address that the source's path is appended to.

    Raises:
        InputError: naming each place that was tried, what was expected and what came.
    """
    if destination.is_file() and _complaint(source, destination) is None:
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for place, get in _places(source, mirror):
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.") as folder:
            try:
                content = _unpacked(source, get(Path(folder)))
            except (requests.RequestException, OSError, ValueError) as error:
                failures.append(f"{place}: {' '.join(str(error).split())}")
                continue
            if complaint := _complaint(source, content):
                failures.append(f"{place}: {complaint}")
                continue
            if source.sha256 is None:
                log.info("%s has the sha256 %s (none is known to compare it with)", destination.name, sha256(content))
            with content.open("rb") as file:
                os.fsync(file.fileno())
            content.chmod(0o644)  # pooch's temporary files are for their owner alone
            content.replace(destination)
            return
    raise InputError(f"{source.name}: could not be fetched; tried " + "; ".join(failures))


def _places(source: Source, mirror: str | None) -> Iterator[tuple[str, Callable[[Path], Path]]]:
    """Yield the places to try, each with a function that puts the file into a folder and returns its path."""
    if mirror and mirror.startswith(("http://", "https://")):
        url = f"{mirror.rstrip('/')}/{source.path}"
        yield url, lambda folder: _download(url, folder)
    elif mirror:
        local = Path(mirror) / source.path
        yield str(local), lambda folder: Path(shutil.copyfile(local, folder / "download"))
    for url in source.urls:
        yield url, lambda folder, url=url: _download(url, folder)


def _download(url: str, folder: Path) -> Path:
    log.info("fetching %s", url)
    fetcher = pooch.create(folder, base_url="", registry={"download": None}, urls={"download": url})
    fetcher.retry_if_failed = RETRIES
    pooch.get_logger().setLevel("ERROR")
    # An encoded answer would be stored unpacked, and its length compared with the packed one.
    downloader = pooch.HTTPDownloader(
        timeout=TIMEOUT_SECONDS, progressbar=True, headers={"Accept-Encoding": "identity"}
    )
    return Path(fetcher.fetch("download", downloader=downloader))


def _unpacked(source: Source, path: Path) -> Path:
    """Return the content: the downloaded file itself, or the one named member of the archive."""
    if source.member is None:
        return path
    try:
        return _member(source, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # A damaged archive shows in any of these: RuntimeError is one that seems encrypted or packed in another way.
        raise ValueError(f"expected a zip archive with {source.member}, found a damaged one: {error}") from None


def _member(source: Source, path: Path) -> Path:
    limit = source.size if source.size is not None else 2**30
    content = path.with_name("member")
    with zipfile.ZipFile(path) as archive:
        try:
            member = archive.getinfo(source.member)
        except KeyError:
            raise ValueError(f"expected an archive with the member {source.member}, found none") from None
        if member.file_size > limit:
            raise ValueError(f"member {source.member}: expected {limit} bytes, found {member.file_size}")
        with archive.open(member) as packed, content.open("wb") as unpacked:
            # The size that an archive declares may lie: never unpack more than is expected.
            unpacked.write(packed.read(limit + 1))
    return content


def _complaint(source: Source, path: Path) -> str | None:
    """Return what is wrong with a file's content, or None."""
    size = path.stat().st_size
    if source.size is not None and size != source.size:
        return f"expected {source.size} bytes, found {size}"
    if source.sha256 is not None and (found := sha256(path)) != source.sha256:
        return f"expected sha256 {source.sha256}, found {found}"
    return None
