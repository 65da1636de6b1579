"""What the tests of downloads share: a source, the two ways that it may end, and half a download to go on from."""

from __future__ import annotations

import hashlib

import pytest
from faulty_server import CONTENT, TAG, honest

from gpt_from_scratch.data.fetch.download import fetch
from gpt_from_scratch.data.raw.sources import Source
from gpt_from_scratch.errors import InputError

SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"\n<!DOCTYPE html><title>Access denied</title>"
ONLY = f"expected {SIZE} bytes, found"
FROM_HALF = (f"bytes={SIZE // 2}-", TAG)
FROM_START = (None, None)


def pinned(*urls, **changes):
    """Return a source of which size and hash are known."""
    return Source(**{"path": "folder/file", "urls": urls, "size": SIZE, "sha256": SHA256} | changes)


def unknown(*urls):
    """Return a source of which neither is known."""
    return pinned(*urls, size=None, sha256=None)


def is_right(destination):
    """Hold that the file is there, whole, and nothing else but its lock and the note of its hash."""
    assert destination.read_bytes() == CONTENT
    names = {path.name for path in destination.parent.iterdir()} - {"file.sha256"}
    assert names == {"file", ".file.lock"}


def is_refused(source, destination, *parts, kept=False):
    """Hold that a download fails in one line with all `parts`, and leaves nothing, or only what was received."""
    with pytest.raises(InputError) as caught:
        fetch(source, destination)
    message = str(caught.value)
    assert "\n" not in message
    for text in (*source.urls, "expected", "found", *parts):
        assert text in message
    assert {path.name for path in destination.parent.iterdir()} == {".file.lock"} | ({".file.part"} if kept else set())
    return message


def half_received(server, destination):
    """Leave half of the file as the part of a download that failed, and return its source."""
    source = pinned(server.script("/file", honest(until=0.5)))
    is_refused(source, destination, f"{ONLY} {SIZE // 2}", kept=True)
    server.asked.clear()
    server.sent = 0
    return source
