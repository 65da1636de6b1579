"""Fetching a file so that nothing wrong is ever found at its place, and nothing is fetched twice."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from filelock import FileLock, Timeout

from gpt_from_scratch.data.fetch.partial_download import Part
from gpt_from_scratch.data.fetch.transfer import Transfer, TransferRefused
from gpt_from_scratch.data.fetch.verify import complaint, hash_note, note_hash, pinned, unpacked
from gpt_from_scratch.data.raw.sources import Source
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import share, sync

log = logging.getLogger(__name__)

RETRIES = 2


@dataclass(frozen=True)
class Downloads:
    """The folder that downloads are kept in, and how they are fetched; see `fetch`.

    Attributes:
        folder: keeps files as they came from their hosts.
        mirror: a folder or an address that is tried before the hosts.
        offline: open no connection.
    """

    folder: Path
    mirror: str | None = None
    offline: bool = False

    def fetch(self, source: Source, destination: Path) -> None:
        """Put a source's content at `destination`."""
        fetch(source, destination, self.mirror, offline=self.offline)

    def fetch_all(self, sources: Iterable[Source], folder: Path) -> Path:
        """Fetch every source into `folder` under its own name, and return the folder."""
        for source in sources:
            self.fetch(source, folder / source.name)
        return folder


def fetch(source: Source, destination: Path, mirror: str | None = None, *, offline: bool = False) -> None:
    """Put a source's content at `destination`; what is there already and is right stays.

    The mirror is tried first, then the source's URLs in order, each several times. Whatever is fetched takes the
    destination's place only with the right size and hash. Where no hash is known beforehand, that of the first
    download is noted in `NAME.sha256` and held to from then on. What an interrupted download received is kept in
    `.NAME.part` and gone on from. Of several processes that fetch the same file, one does and the others wait.

    Args:
        mirror: a folder, or an address that the source's path is appended to.
        offline: open no connection: only `destination` itself and a mirror's folder will do.

    Raises:
        InputError: naming each place that was tried, what was expected and what came.
    """
    try:
        wanted = pinned(source, destination)
        if wanted.sha256 is not None and destination.is_file() and complaint(wanted, destination) is None:
            return
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _alone(destination):
            _provide(source, destination, _places(source, mirror, offline=offline), offline=offline)
    except OSError as error:
        raise InputError(f"{destination}: could not be written or read: {error}") from None


def _provide(source: Source, destination: Path, places: list[str | Path], *, offline: bool) -> None:
    wanted = pinned(source, destination)  # another process may have fetched it while this one waited
    failures = []
    if destination.is_file():
        wrong = complaint(wanted, destination)
        if wrong is None:
            if wanted.sha256 is None:
                note_hash(destination, destination)
            return
        log.warning("%s: %s; it is fetched again", destination, wrong)
        failures.append(f"{destination}: {wrong}")
    elif offline:
        failures.append(f"{destination}: file not found")
    part = Part(destination)
    part.tidy()
    try:
        for place in places:
            try:
                content = _copied(wanted, place, part) if isinstance(place, Path) else _downloaded(wanted, place, part)
            except (requests.RequestException, ValueError, TransferRefused) as error:
                failures.append(f"{place}: {' '.join(str(error).split())}")
            else:
                _put(wanted, content, destination)
                part.forget()
                return
    finally:
        part.tidy()
    outcome = "could not be fetched"
    if offline:
        outcome = "could not be had without a connection (runtime.offline is true, and no mirror's folder has it)"
    if source.sha256 is None and wanted.sha256 is not None:
        outcome += f" as {hash_note(destination)} notes it (remove that file if its host has changed it)"
    raise InputError(f"{source.name}: {outcome}; tried " + "; ".join(failures))


def _places(source: Source, mirror: str | None, *, offline: bool) -> list[str | Path]:
    """Return the mirror's folder or address, then the hosts' addresses."""
    places: list[str | Path] = [] if offline else list(source.urls)
    if mirror and not mirror.startswith(("http://", "https://")):
        return [Path(mirror) / source.path, *places]
    if mirror and not offline:
        return [f"{mirror.rstrip('/')}/{source.path}", *places]
    return places


def _copied(source: Source, local: Path, part: Part) -> Path:
    """Return the content that a file of a mirror's folder holds, copied into the part's folder."""
    if not (local.is_file() and os.access(local, os.R_OK)):
        raise ValueError("expected a file that can be read, found none")
    part.folder.mkdir(exist_ok=True)
    content = unpacked(source, Path(shutil.copyfile(local, part.folder / "copy")), part.folder)
    if wrong := complaint(source, content):
        raise ValueError(wrong)
    return content


def _downloaded(source: Source, url: str, part: Part) -> Path:
    """Return the content that an address gives, in the part's folder."""
    log.info("fetching %s", url)
    fetcher = pooch.create(part.folder, base_url="", registry={"whole": None}, urls={"whole": url})
    fetcher.retry_if_failed = RETRIES
    pooch.get_logger().setLevel("ERROR")
    return Path(fetcher.fetch("whole", downloader=Transfer(source, part)))


def _put(source: Source, content: Path, destination: Path) -> None:
    share(content)  # pooch's temporary files are for their owner alone
    sync(content)
    if source.sha256 is None:
        note_hash(content, destination)
    content.replace(destination)
    sync(destination.parent)


@contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """Let no two processes fetch the same file at once."""
    lock = FileLock(destination.with_name(f".{destination.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that fetches %s", destination)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
