"""Downloads that go on from what was received: nothing twice, and nothing wrong because of it; and full disks."""

from __future__ import annotations

import json
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from download_checks import FROM_HALF, FROM_START, PAGE, SIZE, half_received, is_refused, is_right, pinned, unknown
from faulty_server import CONTENT, TAG, always, honest, no_http, silence, status

from gpt_from_scratch.data.fetch import download, transfer
from gpt_from_scratch.data.fetch import partial_download as part
from gpt_from_scratch.data.fetch.download import fetch
from gpt_from_scratch.errors import InputError

pytestmark = pytest.mark.usefixtures("pauses")


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
