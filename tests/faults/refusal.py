"""How a file made to do harm must be refused: in one short line that names it, soon, and in little memory."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpt_from_scratch.errors import InputError

LONGEST_LINE = 1500
SECONDS = 20.0
BYTES = 400 * 2**20


@contextmanager
def refused(path: Path, complaint: str) -> Iterator[None]:
    """Expect an error that names the file, and neither much time nor memory."""
    before, began = peak_memory(reset=True), time.monotonic()
    with pytest.raises(InputError, match=complaint) as caught:
        yield
    assert time.monotonic() - began < SECONDS
    assert peak_memory() - before < BYTES
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    assert len(message) < LONGEST_LINE
    message.encode("utf-8")


def peak_memory(*, reset: bool = False) -> int:
    """Return the most memory that this process has had since the last reset, in bytes; 0 where that is not known."""
    if sys.platform != "linux":
        return 0
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
