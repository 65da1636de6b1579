"""Fixtures of the tests of downloads: a faulty host, and nothing that has to be waited for."""

from __future__ import annotations

import pytest
from faulty_server import serving

from gpt_from_scratch.data.fetch import transfer


@pytest.fixture
def server(monkeypatch):
    """A host on this machine, which answers as its script says."""
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as server:
        yield server


@pytest.fixture
def pauses(monkeypatch):
    """Note the pauses instead of making them, and shorten what has to be waited for."""
    pauses = []
    monkeypatch.setattr("pooch.core.time.sleep", pauses.append)
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.1)
    return pauses


@pytest.fixture
def destination(tmp_path):
    """Where the file shall come to lie."""
    return tmp_path / "out" / "file"
