"""Downloads by several processes, and by processes that are ended in the middle: nothing is received twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from download_checks import FROM_HALF, FROM_START, SHA256, SIZE, is_right, pinned
from faulty_server import honest, when_all_are_here

from gpt_from_scratch.data.fetch.download import fetch

pytestmark = pytest.mark.usefixtures("pauses")

CHILD = """
import os, sys
from pathlib import Path
from gpt_from_scratch.data.fetch import partial_download as part
from gpt_from_scratch.data.fetch.download import fetch
from gpt_from_scratch.data.raw.sources import Source
from gpt_from_scratch.pipeline.signals import listen

url, size, sha256, destination, started, number = sys.argv[1:]
part.CONFIRM_BYTES = 1
children = []
for child in range(int(number)):
    children.append(os.fork())
    if not children[-1]:
        listen()
        Path(started, str(os.getpid())).touch()
        fetch(Source("file", (url,), int(size), sha256), Path(destination))
        sys.exit(0)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def start(root, url, destination, started, number=1):
    started.mkdir()
    arguments = [url, str(SIZE), SHA256, str(destination), str(started), str(number)]
    environment = {"PYTHONPATH": str(root / "src"), "NO_PROXY": "*"}
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], env=environment)


def test_eight_processes_fetch_once(server, destination, root, tmp_path):
    started = tmp_path / "started"
    url = server.script("/file", when_all_are_here(started, 8))
    assert start(root, url, destination, started, 8).wait(60) == 0
    is_right(destination)
    assert len(server.asked) == 1
    assert server.sent == SIZE


@contextmanager
def halfway(server, destination, root, started):
    """Give the id of a process that has received half of the file and waits for the rest."""
    process = start(root, server.url + "/file", destination, started)
    note = destination.with_name(".file.part") / "received.json"
    try:
        assert server.halfway.wait(60)
        while not (note.exists() and json.loads(note.read_text())["confirmed"] == SIZE // 2):
            threading.Event().wait(0.01)
        (child,) = (int(path.name) for path in started.iterdir())
        yield child
        process.wait(60)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_ended_in_the_middle_leaves_what_came(server, destination, root, tmp_path, number):
    url = server.script("/file", honest(until=0.5, stall=True), honest())
    with halfway(server, destination, root, tmp_path / "started") as child:
        began = time.monotonic()
        os.kill(child, number)
    assert time.monotonic() - began < 5
    assert not destination.exists()
    if number != signal.SIGKILL:
        folder = destination.with_name(".file.part")
        assert {path.name for path in folder.iterdir()} == {"received", "received.json"}
    fetch(pinned(url), destination)
    is_right(destination)
    assert server.ranges() == [FROM_START, FROM_HALF]


def test_a_waiting_process_goes_on_from_where_another_was_killed(server, destination, root, tmp_path):
    url = server.script("/file", honest(until=0.5, stall=True), honest())
    with halfway(server, destination, root, tmp_path / "first") as child:
        second = start(root, url, destination, tmp_path / "second")
        while not list((tmp_path / "second").iterdir()):
            threading.Event().wait(0.01)
        os.kill(child, signal.SIGKILL)
        assert second.wait(60) == 0
    is_right(destination)
    assert server.ranges() == [FROM_START, FROM_HALF]
