"""Fetching: what is right stays, mirrors come first, hashes of first downloads are held to, offline means offline.

What hosts do wrong is in tests/faults/test_downloads.py.
"""

from __future__ import annotations

import hashlib
import io
import socket
import zipfile

import pytest
from faulty_server import CONTENT, always, honest, serving, status

from gpt_from_scratch.data.fetch import download
from gpt_from_scratch.data.fetch.download import Downloads, fetch
from gpt_from_scratch.data.raw.sources import UPSTREAM, Source, gpt2_checkpoint, gpt2_huggingface
from gpt_from_scratch.errors import InputError

SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    with serving() as server:
        server.script("/right", honest())
        yield server


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "out" / "file"


@pytest.fixture
def folder(tmp_path):
    """A mirror's folder that holds the right file."""
    path = tmp_path / "mirror" / "folder" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return tmp_path / "mirror"


def source(server, path="/right", size=SIZE, sha256=SHA256, member=None):
    return Source("folder/file", (server.url + path,), size, sha256, member)


def unknown(server, path="/right"):
    return source(server, path, size=None, sha256=None)


def zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def beside(destination):
    return {path.name for path in destination.parent.iterdir()} - {".file.lock"}


def test_the_right_file(server, destination):
    fetch(source(server), destination)
    assert destination.read_bytes() == CONTENT
    assert beside(destination) == {"file"}


def test_a_right_file_is_not_fetched_again(server, destination):
    fetch(source(server), destination)
    fetch(source(server), destination)
    assert len(server.asked) == 1


def test_a_wrong_file_is_replaced(server, destination, caplog):
    destination.parent.mkdir()
    destination.write_bytes(b"old")
    fetch(source(server), destination)
    assert destination.read_bytes() == CONTENT
    assert f"{destination}: expected {SIZE} bytes, found 3; it is fetched again" in caplog.text


def test_a_wrong_file_stays_where_no_right_one_is_to_be_had(server, destination):
    destination.parent.mkdir()
    destination.write_bytes(b"old")
    with pytest.raises(InputError, match=f"tried {destination}: expected {SIZE} bytes, found 3; http"):
        fetch(source(server, "/missing"), destination)


def test_the_named_member_of_an_archive(server, destination):
    server.script("/zip", honest(zipped("member", CONTENT), until=0.5), honest(zipped("member", CONTENT)))
    fetch(source(server, "/zip", member="member"), destination)
    assert destination.read_bytes() == CONTENT
    assert beside(destination) == {"file"}
    assert server.asked[1][1]["Range"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (zipped("stranger", CONTENT), "expected an archive with the member member, found none"),
        (zipped("member", bytes(SIZE * 50)), f"member member: expected at most {SIZE} bytes, found {SIZE * 50}"),
        (zipped("member", CONTENT[::-1]), f"expected sha256 {SHA256}, found "),
        (zipped("member", CONTENT)[:-9], "expected a zip archive with member, found a damaged one"),
        (CONTENT, "expected a zip archive with member, found a damaged one"),
        (bytes(SIZE + 2**20 + 1), f"expected at most {SIZE + 2**20} bytes, found more"),
    ],
)
def test_unusable_archives(server, destination, body, complaint):
    server.script("/zip", always(body, ETag='"one"'))
    with pytest.raises(InputError, match=complaint):
        fetch(source(server, "/zip", member="member"), destination)
    assert beside(destination) == set()


def test_a_mirror_comes_first(server, destination, folder):
    fetch(source(server), destination, str(folder))
    assert server.asked == []
    destination.unlink()
    server.script("/mirror/folder/file", honest())
    fetch(source(server, "/missing"), destination, f"{server.url}/mirror/")
    assert [path for path, _ in server.asked] == ["/mirror/folder/file"]


@pytest.mark.parametrize("content", [None, b"wrong"])
def test_a_mirror_without_the_right_file_is_passed_over(server, destination, folder, content):
    (folder / "folder/file").unlink()
    if content is not None:
        (folder / "folder/file").write_bytes(content)
    fetch(source(server), destination, str(folder))
    assert destination.read_bytes() == CONTENT
    assert beside(destination) == {"file"}


def test_the_first_downloads_hash_is_noted_and_held_to(server, destination, caplog):
    fetch(unknown(server), destination)
    note = destination.with_name("file.sha256")
    assert note.read_text() == f"{SHA256}  file\n"
    destination.write_bytes(CONTENT[::-1])  # of the same length
    fetch(unknown(server), destination)
    assert destination.read_bytes() == CONTENT
    assert "it is fetched again" in caplog.text


def test_a_host_that_changes_its_file_is_noticed(server, destination):
    fetch(unknown(server), destination)
    destination.unlink()
    server.script("/right", honest(CONTENT[::-1]))
    with pytest.raises(InputError) as caught:
        fetch(unknown(server), destination)
    note = destination.with_name("file.sha256")
    for part in (f"as {note} notes it", "remove that file", f"expected sha256 {SHA256}, found "):
        assert part in str(caught.value)
    assert not destination.exists()
    note.unlink()
    fetch(unknown(server), destination)
    assert destination.read_bytes() == CONTENT[::-1]


def test_a_file_that_came_before_hashes_were_noted(server, destination, no_sockets):
    destination.parent.mkdir()
    destination.write_bytes(CONTENT)
    fetch(unknown(server), destination)
    assert destination.with_name("file.sha256").read_text() == f"{SHA256}  file\n"


def test_a_damaged_note(server, destination):
    fetch(unknown(server), destination)
    destination.with_name("file.sha256").write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=r"file\.sha256: expected the sha256 of file, found .*; remove both files"):
        fetch(unknown(server), destination)


def test_offline_opens_no_socket(server, destination, folder, no_sockets):
    for wanted in (source(server), unknown(server)):
        with pytest.raises(InputError) as caught:
            fetch(wanted, destination, f"{server.url}/mirror", offline=True)
        outcome = "file: could not be had without a connection (runtime.offline is true, and no mirror's folder has it)"
        assert str(caught.value) == f"{outcome}; tried {destination}: file not found"
        fetch(wanted, destination, str(folder), offline=True)
        fetch(wanted, destination, offline=True)
        destination.unlink()


def test_offline_a_wrong_file_is_named(server, destination, no_sockets):
    destination.parent.mkdir()
    destination.write_bytes(b"old")
    with pytest.raises(InputError, match=f"offline is true.*tried {destination}: expected {SIZE} bytes, found 3$"):
        fetch(source(server), destination, offline=True)


def test_what_was_received_goes_when_the_file_comes_from_elsewhere(server, destination, folder):
    server.script("/cut", honest(until=0.5))
    with pytest.raises(InputError):
        fetch(source(server, "/cut"), destination)
    assert beside(destination) == {".file.part"}
    fetch(source(server, "/cut"), destination, str(folder))
    assert beside(destination) == {"file"}


def test_a_download_that_was_interrupted_is_kept_while_offline(server, destination):
    server.script("/cut", honest(until=0.5))
    wanted = source(server, "/cut")
    with pytest.raises(InputError):
        fetch(wanted, destination)
    with pytest.raises(InputError):
        fetch(wanted, destination, offline=True)
    server.script("/cut", honest())
    fetch(wanted, destination)
    assert server.asked[-1][1]["Range"] == f"bytes={SIZE // 2}-"


def test_all_files_of_a_folder(server, tmp_path):
    server.script("/other", honest(b"other"))
    sources = [Source("one", (server.url + "/right",)), Source("two", (server.url + "/other",))]
    Downloads(tmp_path).fetch_all(sources, tmp_path / "all")
    server.script("/right", status(500))
    assert Downloads(tmp_path, offline=True).fetch_all(sources, tmp_path / "all") == tmp_path / "all"
    assert (tmp_path / "all/one").read_bytes() == CONTENT
    assert (tmp_path / "all/two").read_bytes() == b"other"


def test_the_real_mirror_has_what_is_pinned(mirror, tmp_path, no_sockets):
    for place, wanted in UPSTREAM.items():
        fetch(wanted, tmp_path / place, str(mirror), offline=True)
        assert download.complaint(wanted, tmp_path / place) is None
    wanted = [file for file in gpt2_checkpoint("124M") if "data-" not in file.name]
    folder = Downloads(tmp_path, str(mirror), offline=True).fetch_all(wanted, tmp_path / "124M")
    assert {file.name for file in wanted} <= {path.name for path in folder.iterdir()}


def test_sources_of_every_size():
    for size in ("124M", "355M", "774M", "1558M"):
        names = {file.name for file in gpt2_checkpoint(size)}
        assert {"hparams.json", "model.ckpt.index", "model.ckpt.data-00000-of-00001"} <= names
        assert all(size in url for file in gpt2_checkpoint(size) for url in file.urls)
        assert {file.name for file in gpt2_huggingface(size)} >= {"config.json", "model.safetensors"}
    assert sum(file.sha256 is not None for file in gpt2_checkpoint("124M")) == 5
    assert not any(file.sha256 or file.size for file in gpt2_checkpoint("355M"))  # unknown, and not to be invented
