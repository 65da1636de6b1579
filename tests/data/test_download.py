"""Fetching files from a server on this machine that misbehaves in many ways."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gpt_from_scratch.data import download
from gpt_from_scratch.data.download import download_all, fetch
from gpt_from_scratch.data.sources import UPSTREAM, Source, gpt2_checkpoint, gpt2_huggingface
from gpt_from_scratch.errors import InputError

CONTENT = b"every effort moves you " * 500
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        bodies = {
            "/right": CONTENT,
            "/flipped": b"E" + CONTENT[1:],
            "/short": CONTENT[:-7],
            "/page": b"<html>Access denied</html>",
            "/right.zip": zipped("member", CONTENT),
            "/other.zip": zipped("stranger", CONTENT),
            "/bomb.zip": zipped("member", CONTENT * 50),
            "/mirror/folder/file": CONTENT,
        }
        if self.path == "/busy" and len(self.server.requests) < 2:
            return self.send_error(503)
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
            return None
        body = CONTENT if self.path in ("/busy", "/cut") else bodies.get(self.path)
        if body is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "out" / "file"


def source(server, *paths, size=SIZE, sha256=SHA256, member=None):
    return Source("folder/file", tuple(server.url + path for path in paths), size, sha256, member)


def test_the_right_file(server, destination):
    fetch(source(server, "/right"), destination)
    assert destination.read_bytes() == CONTENT
    assert [path.name for path in destination.parent.iterdir()] == ["file"]


def test_a_right_file_is_not_fetched_again(server, destination):
    fetch(source(server, "/right"), destination)
    fetch(source(server, "/right"), destination)
    assert len(server.requests) == 1


def test_a_wrong_file_is_replaced(server, destination):
    destination.parent.mkdir()
    destination.write_bytes(b"old")
    fetch(source(server, "/right"), destination)
    assert destination.read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server, destination):
    fetch(source(server, "/busy"), destination)
    assert destination.read_bytes() == CONTENT


def test_the_next_url_is_tried(server, destination):
    fetch(source(server, "/flipped", "/missing", "/cut", "/right"), destination)
    assert destination.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/flipped", f"expected sha256 {SHA256}, found "),
        ("/short", f"expected {len(CONTENT)} bytes, found {len(CONTENT) - 7}"),
        ("/page", f"expected {len(CONTENT)} bytes, found 26"),
        ("/missing", "404"),
        ("/cut", ""),
        ("/loop", "redirects"),
    ],
)
def test_a_wrong_answer_leaves_nothing(server, destination, path, complaint):
    with pytest.raises(InputError) as caught:
        fetch(source(server, path), destination)
    message = str(caught.value)
    assert message.startswith("file: could not be fetched; tried " + server.url + path)
    assert complaint in message
    assert "\n" not in message
    assert list(destination.parent.iterdir()) == []


def test_a_cut_answer_of_unknown_size_is_noticed(server, destination):
    with pytest.raises(InputError):
        fetch(source(server, "/cut", size=None, sha256=None), destination)
    assert not destination.exists()


def test_nobody_listens(destination, monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/x"):
        fetch(Source("x", ("http://127.0.0.1:9/x",)), destination)


def test_the_named_member_of_an_archive(server, destination):
    fetch(source(server, "/right.zip", member="member"), destination)
    assert destination.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/other.zip", "expected an archive with the member member"),
        ("/bomb.zip", f"member member: expected {len(CONTENT)} bytes, found {len(CONTENT) * 50}"),
        ("/right", "zip"),
    ],
)
def test_unusable_archives(server, destination, path, complaint):
    with pytest.raises(InputError, match=complaint):
        fetch(source(server, path, member="member"), destination)
    assert list(destination.parent.iterdir()) == []


def test_a_mirror_comes_first(server, destination, tmp_path):
    mirror = tmp_path / "mirror"
    (mirror / "folder").mkdir(parents=True)
    (mirror / "folder" / "file").write_bytes(CONTENT)
    fetch(source(server, "/right"), destination, str(mirror))
    assert server.requests == []
    destination.unlink()
    fetch(source(server, "/missing"), destination, f"{server.url}/mirror/")
    assert server.requests == ["/mirror/folder/file"]


@pytest.mark.parametrize("content", [None, b"wrong"])
def test_a_mirror_without_the_right_file_is_passed_over(server, destination, tmp_path, content):
    mirror = tmp_path / "mirror"
    (mirror / "folder").mkdir(parents=True)
    if content is not None:
        (mirror / "folder" / "file").write_bytes(content)
    fetch(source(server, "/right"), destination, str(mirror))
    assert destination.read_bytes() == CONTENT


def test_the_real_mirror_has_what_is_pinned(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_download", lambda *_: pytest.fail("a host was asked"))
    for place, wanted in UPSTREAM.items():
        fetch(wanted, tmp_path / place, str(mirror))
    wanted = [file for file in gpt2_checkpoint("124M") if "data-" not in file.name]
    assert len(list(download_all(wanted, tmp_path / "124M", str(mirror)).iterdir())) == 5


def test_sources_of_every_size():
    for size in ("124M", "355M", "774M", "1558M"):
        names = {file.name for file in gpt2_checkpoint(size)}
        assert {"hparams.json", "model.ckpt.index", "model.ckpt.data-00000-of-00001"} <= names
        assert all(size in url for file in gpt2_checkpoint(size) for url in file.urls)
        assert {file.name for file in gpt2_huggingface(size)} >= {"config.json", "model.safetensors"}
    assert sum(file.sha256 is not None for file in gpt2_checkpoint("124M")) == 5
    assert not any(file.sha256 or file.size for file in gpt2_checkpoint("355M"))  # unknown, and not to be invented
