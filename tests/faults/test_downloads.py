"""Downloads under every fault: no wrong byte at the final path, one line that says why, and nothing received twice."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from faulty_server import (
    CONTENT,
    TAG,
    always,
    chunked,
    drip,
    endless,
    honest,
    no_http,
    packed,
    self_signed,
    serving,
    silence,
    status,
    when_all_are_here,
)

from gpt_from_scratch.data import download, part, transfer
from gpt_from_scratch.data.download import fetch
from gpt_from_scratch.data.sources import Source
from gpt_from_scratch.errors import InputError

SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FLIPPED = CONTENT[:777] + bytes([CONTENT[777] ^ 1]) + CONTENT[778:]
PAGE = b"\n<!DOCTYPE html><title>Access denied</title>"
ONLY = f"expected {SIZE} bytes, found"
WRONG_HASH = f"expected sha256 {SHA256}, found {hashlib.sha256(FLIPPED).hexdigest()}"
FROM_HALF = (f"bytes={SIZE // 2}-", TAG)
FROM_START = (None, None)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Note the pauses instead of making them, and shorten what has to be waited for."""
    pauses = []
    monkeypatch.setattr("pooch.core.time.sleep", pauses.append)
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.1)
    return pauses


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "out" / "file"


def pinned(*urls, **changes):
    return Source(**{"path": "folder/file", "urls": urls, "size": SIZE, "sha256": SHA256} | changes)


def unknown(*urls):
    return pinned(*urls, size=None, sha256=None)


def is_right(destination):
    assert destination.read_bytes() == CONTENT
    names = {path.name for path in destination.parent.iterdir()} - {"file.sha256"}
    assert names == {"file", ".file.lock"}


def is_refused(source, destination, *parts, kept=False):
    with pytest.raises(InputError) as caught:
        fetch(source, destination)
    message = str(caught.value)
    assert "\n" not in message
    for text in (*source.urls, "expected", "found", *parts):
        assert text in message
    assert {path.name for path in destination.parent.iterdir()} == {".file.lock"} | ({".file.part"} if kept else set())
    return message


@pytest.mark.parametrize("make", [pinned, unknown])
@pytest.mark.parametrize("tenth", range(10))
def test_cut_at_every_tenth_goes_on_from_there(server, destination, tenth, make):
    fetch(make(server.script("/file", honest(until=tenth / 10), honest())), destination)
    is_right(destination)
    asked = (f"bytes={SIZE * tenth // 10}-", TAG) if tenth else FROM_START
    assert server.ranges() == [FROM_START, asked]
    assert server.sent == SIZE


def test_a_host_that_always_hangs_up_is_asked_again_as_long_as_more_comes(server, destination, monkeypatch, pauses):
    monkeypatch.setattr(transfer, "NEW_BYTES", SIZE // 10)
    cuts = [honest(until=tenth / 10) for tenth in range(1, 11)]
    fetch(pinned(server.script("/file", *cuts)), destination)
    is_right(destination)
    assert server.sent == SIZE
    assert sum(pauses) == 0


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        pytest.param([always(CONTENT)], 1, id="no-length"),
        pytest.param([chunked(CONTENT)], 1, id="chunked"),
        pytest.param([packed()], 1, id="gzip"),
        pytest.param([chunked(CONTENT[:500], ended=False, ETag=TAG), honest()], 2, id="cut-chunks"),
        pytest.param([packed(until=0.5), honest()], 2, id="cut-gzip"),
        pytest.param([status(503), status(500), honest()], 3, id="busy"),
        pytest.param([silence, honest()], 2, id="silence"),
        pytest.param([no_http, honest()], 2, id="no-http"),
        pytest.param([always(FLIPPED), honest()], 2, id="flipped-once"),
        pytest.param([always(PAGE), honest()], 2, id="page-once"),
        pytest.param([status(302, Location="/moved")], 2, id="moved"),
    ],
)
def test_what_passes_by_is_overcome(server, destination, answers, requests):
    server.script("/moved", honest())
    fetch(pinned(server.script("/file", *answers)), destination)
    is_right(destination)
    assert len(server.asked) == requests


@pytest.mark.parametrize(
    ("answer", "complaint", "requests"),
    [
        pytest.param(always(FLIPPED), WRONG_HASH, 3, id="flipped"),
        pytest.param(always(CONTENT[:-7], Content_Length=SIZE - 7), f"{ONLY} {SIZE - 7}", 3, id="short"),
        pytest.param(always(CONTENT[:-7]), f"{ONLY} {SIZE - 7}", 3, id="short-no-length"),
        pytest.param(always(CONTENT, Content_Length=SIZE + 7), f"{ONLY} {SIZE + 7}", 3, id="long"),
        pytest.param(always(CONTENT + b"more"), f"expected at most {SIZE} bytes, found more", 1, id="more"),
        pytest.param(endless, f"expected at most {SIZE} bytes, found more", 1, id="endless"),
        pytest.param(always(PAGE, Content_Length=len(PAGE)), f"{ONLY} {len(PAGE)}", 3, id="page"),
        pytest.param(chunked(PAGE), f"{ONLY} {len(PAGE)}", 3, id="chunked-page"),
        pytest.param(packed(until=0.5), ONLY, 3, id="cut-gzip"),
        pytest.param(always(b"not gzip", Content_Encoding="gzip"), "gzip", 3, id="not-gzip"),
        pytest.param(always(CONTENT, Content_Encoding="br2"), "found the coding br2", 1, id="unknown-coding"),
        pytest.param(always(CONTENT, 206), "expected status 200, found 206", 1, id="unasked-part"),
        *(
            pytest.param(status(code), f"expected status 200, found {code}", 1, id=str(code))
            for code in (204, 304, 401, 403, 404, 410, 416, 451)
        ),
        *(
            pytest.param(status(code), f"expected status 200, found {code}", 3, id=str(code))
            for code in (408, 429, 500, 502, 503, 504)
        ),
        pytest.param(status(302, Location="/file"), "expected the file, found a loop of redirects", 31, id="loop"),
        pytest.param(status(302, Location="file:///etc/passwd"), "expected an answer, found", 3, id="to-a-file"),
        pytest.param(silence, "expected an answer, found", 3, id="silence"),
        pytest.param(no_http, "expected an answer, found", 3, id="no-http"),
    ],
)  # fmt: skip
def test_what_stays_wrong_is_refused_in_one_line(server, destination, answer, complaint, requests):
    is_refused(pinned(server.script("/file", answer)), destination, complaint)
    assert len(server.asked) == requests


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        pytest.param(honest(until=0.5, tag=None), f"{ONLY} {SIZE // 2}", id="cut"),
        pytest.param(chunked(CONTENT, ended=False), f"expected all bytes, found {SIZE}", id="cut-chunks"),
        pytest.param(always(PAGE), "expected file, found a page that begins with", id="page"),
        pytest.param(always(b'<?xml version="1.0"?><Error>gone</Error>'), "found a page", id="xml-page"),
        pytest.param(always(b"", Content_Length=2**40), f"found {2**40}", id="too-long"),
    ],
)
def test_of_unknown_content_too(server, destination, answer, complaint):
    is_refused(unknown(server.script("/file", answer)), destination, complaint)


def test_a_slow_drip_is_broken_off_and_gone_on_from(server, destination, monkeypatch):
    monkeypatch.setattr(transfer, "WINDOW_SECONDS", 0.05)
    url = server.script("/file", drip)
    is_refused(pinned(url), destination, f"expected at least {transfer.WINDOW_BYTES} bytes in 0.05 s", kept=True)
    server.script("/file", honest())
    fetch(pinned(url), destination)
    is_right(destination)
    assert server.asked[-1][1]["Range"] != "bytes=0-"


def test_retry_after_is_honoured_within_a_bound(server, destination, pauses):
    fetch(
        pinned(server.script("/file", status(429, Retry_After=7), status(503, Retry_After="?"), honest())), destination
    )
    is_right(destination)
    assert 7 in pauses
    destination.unlink()
    later = server.script("/later", status(429, Retry_After=3600))
    is_refused(pinned(later), destination, "found 429 Too Many Requests and to come back in 3600 s")
    assert [path for path, _ in server.asked].count("/later") == 1


def test_nobody_listens(destination):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/file"
    is_refused(pinned(url), destination, "expected an answer, found", "refused")


def test_a_certificate_that_nobody_vouches_for(destination, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    certificate = self_signed(tmp_path / "certificate.pem")
    with serving(certificate) as server:
        url = server.script("/file", honest())
        is_refused(pinned(url), destination, "expected a certificate to trust, found", "self-signed")
        assert server.asked == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        fetch(pinned(url), destination)
        is_right(destination)


def test_https_does_not_lead_to_http(server, destination, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(self_signed(tmp_path / "certificate.pem")))
    plain = server.script("/file", honest())
    with serving(tmp_path / "certificate.pem") as safe:
        url = safe.script("/file", status(302, Location=plain))
        is_refused(pinned(url), destination, f"expected https all the way, found a redirect to {plain}")


@pytest.mark.parametrize(
    "fault", [status(404), status(503), always(FLIPPED), honest(until=0.4), status(302, Location="/x")]
)
def test_the_next_host_is_asked(server, destination, fault):
    fetch(pinned(server.script("/x", fault), server.script("/y", honest())), destination)
    is_right(destination)


def half_received(server, destination):
    """Leave half of the file as the part of a download that failed, and return its source."""
    source = pinned(server.script("/file", honest(until=0.5)))
    is_refused(source, destination, f"{ONLY} {SIZE // 2}", kept=True)
    server.asked.clear()
    server.sent = 0
    return source


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([always(CONTENT, Content_Length=SIZE)], id="200-instead-of-206"),
        pytest.param([honest(tag='"two"')], id="changed-etag"),
        pytest.param([honest(tag=None)], id="etag-gone"),
        pytest.param(
            [always(CONTENT[9:], 206, Content_Range=f"bytes 9-{SIZE - 1}/{SIZE}"), honest()], id="wrong-start"
        ),
        pytest.param(
            [always(b"", 206, Content_Range=f"bytes {SIZE // 2}-{SIZE}/{SIZE + 1}"), honest()], id="wrong-total"
        ),
        pytest.param([always(CONTENT[SIZE // 2 :], 206), honest()], id="no-content-range"),
        pytest.param([always(b"", 206, Content_Range="bytes ?"), honest()], id="senseless-content-range"),
        pytest.param(
            [always(b"", 206, Content_Range=f"bytes {SIZE // 2}-{SIZE - 1}/{SIZE}", ETag='"two"'), honest()],
            id="206-of-another-version",
        ),
        pytest.param(
            [always(b"", 206, Content_Range=f"bytes {SIZE // 2}-{SIZE - 1}/{SIZE}", Content_Encoding="gzip"), honest()],
            id="206-in-gzip",
        ),
        pytest.param([status(416), honest()], id="416"),
    ],
)
def test_what_cannot_be_gone_on_from_begins_anew(server, destination, answers):
    source = half_received(server, destination)
    server.script("/file", *answers)
    fetch(source, destination)
    is_right(destination)
    assert server.ranges() == [FROM_HALF, FROM_START][: len(answers)]


def test_the_rest_of_another_file_is_found_out_by_the_hash_and_begins_anew(server, destination):
    source = half_received(server, destination)
    server.script("/file", honest(content=CONTENT[::-1]), honest())
    fetch(source, destination)
    is_right(destination)
    assert server.ranges() == [FROM_HALF, FROM_START]


@pytest.mark.parametrize("fault", [status(404), status(503), always(PAGE, Content_Length=len(PAGE)), silence, no_http])
def test_an_answer_of_no_use_costs_nothing_of_what_was_received(server, destination, fault):
    source = half_received(server, destination)
    server.script("/file", fault)
    is_refused(source, destination, kept=True)
    server.script("/file", honest())
    fetch(source, destination)
    is_right(destination)
    assert server.ranges()[-1] == FROM_HALF


def test_a_host_that_gives_less_than_was_asked_is_asked_for_the_rest(server, destination):
    half, more = SIZE // 2, SIZE * 3 // 4
    some = always(
        CONTENT[half:more], 206, Content_Range=f"bytes {half}-{more - 1}/{SIZE}", Content_Length=more - half, ETag=TAG
    )
    fetch(unknown(server.script("/file", honest(until=0.5), some, honest())), destination)
    is_right(destination)
    assert server.ranges() == [FROM_START, FROM_HALF, (f"bytes={more}-", TAG)]


def test_a_date_will_do_where_there_is_no_strong_etag(server, destination):
    headers = {"Content_Length": SIZE, "ETag": 'W/"weak"', "Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    is_refused(pinned(server.script("/file", always(CONTENT[:500], **headers))), destination, kept=True)
    assert server.ranges()[-1] == ("bytes=500-", headers["Last_Modified"])


def test_a_whole_part_is_not_asked_for_again(server, destination):
    source = half_received(server, destination)
    folder = destination.with_name(".file.part")
    (folder / "received").write_bytes(CONTENT)
    note = json.loads((folder / "received.json").read_text())
    (folder / "received.json").write_text(json.dumps(note | {"confirmed": SIZE}))
    fetch(source, destination)
    is_right(destination)
    assert server.asked == []


def test_no_damage_to_what_was_received_harms(server, destination):
    source = half_received(server, destination)
    server.script("/file", honest())
    folder = destination.with_name(".file.part")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    note = files["received.json"]
    for place in range(0, len(note), 5):
        damaged = {"received.json": note[:place] + bytes([note[place] ^ 0x10]) + note[place + 1 :]}
        again(source, destination, folder, files | damaged)
    received = files["received"]
    for damaged in (b"", received[:-1], received[:99] + b"?" + received[100:], received + b"not confirmed"):
        again(source, destination, folder, files | {"received": damaged})
    again(source, destination, folder, files | {"whole": b"of a killed process", ".received.json.x1": b"{"})


@pytest.mark.parametrize("damage", [lambda received: received[:-1], lambda received: received + b"not confirmed"])
def test_of_unknown_content_only_confirmed_bytes_are_gone_on_from(server, destination, damage):
    url = server.script("/file", honest(until=0.5))
    is_refused(unknown(url), destination, kept=True)
    received = destination.with_name(".file.part") / "received"
    received.write_bytes(damage(received.read_bytes()))
    server.script("/file", honest())
    fetch(unknown(url), destination)
    is_right(destination)


def again(source, destination, folder, files):
    destination.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    fetch(source, destination)
    is_right(destination)


@contextmanager
def files_of_at_most(size):
    """Let no file of this process grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_it_and_keeps_what_came(server, destination):
    source = pinned(server.script("/file", honest()), server.script("/other", honest()))
    with files_of_at_most(SIZE // 2), pytest.raises(InputError) as caught:
        fetch(source, destination)
    assert str(caught.value) == f"{destination}: could not be written or read: [Errno 27] File too large"
    assert not destination.exists()
    fetch(source, destination)
    is_right(destination)
    assert [path for path, _ in server.asked] == ["/file", "/file"]
    assert server.ranges()[-1] == FROM_HALF


def test_too_little_room_is_said_before_anything_is_received(server, destination, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, SIZE - 1))
    with pytest.raises(InputError, match=f"expected {SIZE} bytes of free disk, found {SIZE - 1}"):
        fetch(pinned(server.script("/file", honest())), destination)
    assert not destination.exists()


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="could not be written or read"):
        fetch(pinned(server.script("/file", honest())), tmp_path / "file" / "file")


CHILD = """
import os, sys
from pathlib import Path
from gpt_from_scratch.data import part
from gpt_from_scratch.data.download import fetch
from gpt_from_scratch.data.sources import Source
from gpt_from_scratch.interruption import listen

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


def test_confirmed_bytes_are_noted_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(part, "CONFIRM_BYTES", 10)
    kept = part.Part(tmp_path / "file")

    def chunks():
        yield b"123456"
        assert kept.known() is None
        yield b"789012"
        assert kept.known().confirmed == 12
        yield b"345"
        assert kept.known().confirmed == 12

    kept.receive(chunks(), part.Note("http://host/file", TAG, 15))
    assert kept.known("http://host/file").confirmed == 15
    assert kept.known("http://other/file") is None


def test_the_disk_confirms_the_content_before_its_name(server, destination, monkeypatch):
    steps = []
    replace = Path.replace
    monkeypatch.setattr(download, "sync", lambda path: steps.append(("sync", path.name)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (steps.append(("name", to.name)), replace(self, to))[1])
    fetch(pinned(server.script("/file", honest())), destination)
    content, name, folder = steps[-3:]
    assert (content[0], name, folder) == ("sync", ("name", "file"), ("sync", "out"))
