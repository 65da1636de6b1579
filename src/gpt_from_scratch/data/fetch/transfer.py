"""One file from one address: goes on where an earlier try ended; too slow a host, or too much, is broken off."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pooch
import requests
import urllib3
from tqdm import tqdm

from gpt_from_scratch.data.fetch.partial_download import Note, Part
from gpt_from_scratch.data.fetch.verify import complaint, unpacked
from gpt_from_scratch.data.raw.sources import Source
from gpt_from_scratch.files.local_addresses import bypass_proxies

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30
WINDOW_SECONDS = 30
WINDOW_BYTES = 30 * 2**10  # 1 kB/s, what a bad telephone line gives
LONGEST_PAUSE_SECONDS = 60
NEW_BYTES = 2**20
CHUNK_BYTES = 2**18


class TransferRefused(Exception):
    """An answer that asking the same host again would not change; no ValueError, which pooch would try again."""


class Transfer:
    """A downloader for pooch, which repeats it after connections that break and content that is wrong.

    A try that brought at least `NEW_BYTES` more than those before it is followed by another at once.

    Args:
        source: what is wanted.
        part: where the bytes are kept between tries.
    """

    def __init__(self, source: Source, part: Part) -> None:
        self._source = source
        self._part = part
        self._pause = 0.0

    def __call__(self, url: str, output_file: str, pooch: pooch.Pooch | None) -> None:
        """Put the content of `url` into `output_file`.

        Raises:
            requests.RequestException: when the connection fails or breaks.
            ValueError: when what comes is not what the source promises.
            TransferRefused: when no other try would help.
            OSError: when the disk is full or fails.
        """
        del pooch
        time.sleep(self._pause)
        self._pause = 0.0
        reached = self._reached(url)
        while True:
            try:
                self._receive(url)
                break
            except requests.RequestException as error:
                if self._reached(url) < reached + NEW_BYTES:
                    raise
                reached = self._reached(url)
                log.info("%s: %s; going on from byte %d", url, error, reached)
        self._finish(Path(output_file))

    def _reached(self, url: str) -> int:
        note = self._part.known(url)
        return note.confirmed if note else 0

    def _receive(self, url: str) -> None:
        known = self._part.known(url)
        if known and known.confirmed == known.total:
            return
        headers = {"Accept-Encoding": "identity"}  # another coding's bytes could neither be counted nor gone on from
        if known:
            headers |= {"Range": f"bytes={known.confirmed}-", "If-Range": known.validator}
        with _answer(url, headers) as response:
            note = self._accepted(url, response, known)
            try:
                self._part.receive(self._chunks(response, note), note)
            except TransferRefused:
                self._part.forget()
                raise

    def _accepted(self, url: str, response: requests.Response, known: Note | None) -> Note:
        """Return what the body is the rest of; the part is untouched by an answer that is no use."""
        status = response.status_code
        if status in (408, 429) or status >= 500:
            self._pause = _asked_pause(response)
            raise requests.HTTPError(f"expected status 200, found {status} {response.reason}")
        if known and status in (206, 416):
            if status == 206 and _continues(response, known):
                return known
            self._part.forget()
            raise requests.HTTPError(
                f"expected bytes {known.confirmed}-{_or_unknown(known.total)} of the same file, found status {status} "
                f"with the range {response.headers.get('Content-Range')}"
            )
        if status != 200:
            raise TransferRefused(f"expected status 200, found {status} {response.reason}")
        return self._from_the_start(url, response)

    def _from_the_start(self, url: str, response: requests.Response) -> Note:
        coding = response.headers.get("Content-Encoding", "identity").lower()
        if coding not in ("identity", *response.raw.CONTENT_DECODERS):
            raise TransferRefused(f"expected the file as it is, found the coding {coding}")
        expected = self._source.size if self._source.member is None else None
        length = response.headers.get("Content-Length", "")
        declared = int(length) if coding == "identity" and length.isdecimal() else None
        if None not in (expected, declared) and expected != declared:
            raise ValueError(f"expected {expected} bytes, found {declared}")
        total = declared if expected is None else expected
        if (total or 0) > self._source.limit:
            raise TransferRefused(f"expected at most {self._source.limit} bytes, found {total}")
        self._part.forget()
        if (total or 0) > (free := shutil.disk_usage(self._part.folder).free):
            raise OSError(f"expected {total} bytes of free disk, found {free}")
        return Note(url, _validator(response) if coding == "identity" else "", total)

    def _chunks(self, response: requests.Response, note: Note) -> Iterator[bytes]:
        """Yield what comes, as it comes.

        A read that waits for a whole chunk would wait for hours where a host sends a byte a second.
        """
        received = before = note.confirmed
        began = time.monotonic()
        wanted = f"expected {_or_unknown(note.total)} bytes, found {{}}"
        limit = self._source.limit if note.total is None else note.total
        bar = {"unit": "B", "unit_scale": True, "desc": self._source.name, "disable": None, "leave": False}
        with tqdm(total=note.total, initial=received, **bar) as progress:
            while True:
                try:
                    chunk = response.raw.read1(CHUNK_BYTES, decode_content=True)
                except urllib3.exceptions.HTTPError as error:
                    raise requests.ConnectionError(f"{wanted.format(received)} ({error})") from None
                if not chunk:
                    break
                received += len(chunk)
                if received > limit:
                    raise TransferRefused(f"expected at most {limit} bytes, found more")
                yield chunk
                progress.update(len(chunk))
                if (now := time.monotonic()) >= began + WINDOW_SECONDS:
                    if received < before + WINDOW_BYTES:
                        slow = f"expected at least {WINDOW_BYTES} bytes in {WINDOW_SECONDS} s"
                        raise requests.Timeout(f"{slow}, found {received - before}")
                    before, began = received, now
        if note.total is not None and received != note.total:
            raise requests.ConnectionError(wanted.format(received))

    def _finish(self, output: Path) -> None:
        """Check the whole and hand it over; if it is wrong, the next try starts anew."""
        try:
            content = unpacked(self._source, self._part.content, self._part.folder)
            if wrong := complaint(self._source, content):
                raise ValueError(wrong)
        except ValueError:
            self._part.forget()
            raise
        content.replace(output)


def _answer(url: str, headers: dict[str, str]) -> requests.Response:
    try:
        bypass_proxies()
        response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    except requests.TooManyRedirects as error:
        raise TransferRefused(f"expected the file, found a loop of redirects ({error})") from None
    except requests.exceptions.SSLError as error:
        raise TransferRefused(f"expected a certificate to trust, found {_reason(error)}") from None
    except requests.RequestException as error:
        raise requests.ConnectionError(f"expected an answer, found {_reason(error)}") from None
    for hop in (*response.history, response):
        if url.startswith("https:") and not hop.url.startswith("https:"):
            response.close()
            raise TransferRefused(f"expected https all the way, found a redirect to {hop.url}")
    return response


def _reason(error: requests.RequestException) -> Exception:
    """Return the error below the layers that wrap it."""
    inner = error.args[0] if error.args else error
    return getattr(inner, "reason", inner)


def _asked_pause(response: requests.Response) -> float:
    """Return the seconds to wait that the host asks for."""
    try:
        seconds = urllib3.Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0.0
    if seconds > LONGEST_PAUSE_SECONDS:
        raise TransferRefused(
            f"expected status 200, found {response.status_code} {response.reason} and to come back in {seconds:.0f} s"
        )
    return seconds


def _validator(response: requests.Response) -> str:
    """Return what marks this version of the file for If-Range: a strong ETag, or else the date."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _continues(response: requests.Response, known: Note) -> bool:
    """Return whether a partial answer begins where the part ends and belongs to the same version of the file."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        return False
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    return (
        match is not None
        and int(match[1]) == known.confirmed
        and (match[2] == "*" or known.total is None or int(match[2]) == known.total)
        and _validator(response) in ("", known.validator)
    )


def _or_unknown(total: int | None) -> str:
    return "all" if total is None else str(total)
