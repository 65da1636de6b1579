"""The chapters' downloads, from a server on this machine: whole files or none, and urllib's errors."""

from __future__ import annotations

import io
import json
import threading
import urllib.error
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from gpt_from_scratch.book import ch05, ch06, ch07
from gpt_from_scratch.errors import InputError


@pytest.fixture
def host():
    """A server for `files` (path → content), which breaks off in the middle of those in `broken`."""
    state = SimpleNamespace(files={}, broken=set(), asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append(self.path)
            if self.path not in state.files:
                self.send_error(404)
                return
            content = state.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in state.broken else content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_a_file_arrives_and_is_kept_while_its_size_is_right(host, tmp_path, capsys):
    host.files["/a"] = b"content"
    path = tmp_path / "folder" / "a"
    ch05.download_file(f"{host.url}/a", path)
    assert path.read_bytes() == b"content"
    path.write_bytes(b"CONTENT")
    ch05.download_file(f"{host.url}/a", str(path))
    assert path.read_bytes() == b"CONTENT"
    assert "there already" in capsys.readouterr().out
    path.write_bytes(b"half")
    ch05.download_file(f"{host.url}/a", path)
    assert path.read_bytes() == b"content"


def test_the_backup_stands_in(host, tmp_path):
    host.files["/backup"] = b"content"
    ch05.download_file(f"{host.url}/a", tmp_path / "a", backup_url=f"{host.url}/backup")
    assert (tmp_path / "a").read_bytes() == b"content"


@pytest.mark.parametrize("backup", [None, "/away"])
def test_a_failure_is_raised_and_leaves_nothing(host, tmp_path, backup):
    with pytest.raises(urllib.error.HTTPError):
        ch05.download_file(f"{host.url}/a", tmp_path / "a", backup and host.url + backup)
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_is_no_file(host, tmp_path):
    host.files["/a"] = b"content"
    host.broken.add("/a")
    (tmp_path / "a").write_bytes(b"an earlier one")
    with pytest.raises(urllib.error.URLError):
        ch05.download_file(f"{host.url}/a", tmp_path / "a")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an earlier one"]


def places(tmp_path):
    return tmp_path / "spam.zip", tmp_path / "spam", tmp_path / "spam" / "SMSSpamCollection.tsv"


def test_the_spam_data_is_unpacked_and_fetched_once(host, tmp_path):
    host.files["/spam.zip"] = zipped(SMSSpamCollection="ham\tHello\n", readme="text")
    for _ in range(2):
        ch06.download_and_unzip_spam_data(f"{host.url}/spam.zip", *places(tmp_path))
    assert places(tmp_path)[2].read_text() == "ham\tHello\n"
    assert [path.name for path in (tmp_path / "spam").iterdir()] == ["SMSSpamCollection.tsv"]
    assert host.asked == ["/spam.zip"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"no archive", "expected a zip archive with SMSSpamCollection, found a damaged one"),
        (zipped(readme="text"), "expected an archive with the member SMSSpamCollection, found none"),
        (zipped(SMSSpamCollection="ham\tHello\n" * 99), "SMSSpamCollection: expected at most 500 bytes, found 990"),
    ],
)
def test_another_archive_is_refused(host, tmp_path, monkeypatch, content, complaint):
    monkeypatch.setattr(ch06, "LARGEST_COLLECTION", 500)
    host.files["/spam.zip"] = content
    with pytest.raises(InputError, match=rf"spam\.zip: .*{complaint}"):
        ch06.download_and_unzip_spam_data(f"{host.url}/spam.zip", *places(tmp_path))
    assert [path for path in (tmp_path / "spam").rglob("*") if path.is_file()] == []


def test_an_archive_without_end_is_given_up(host, tmp_path, monkeypatch):
    monkeypatch.setattr(ch06, "LARGEST_COLLECTION", 500)
    host.files["/spam.zip"] = bytes(501)
    with pytest.raises(urllib.error.URLError, match="expected at most 500 bytes, found more"):
        ch06.download_and_unzip_spam_data(f"{host.url}/spam.zip", *places(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_chapters_own_fallback_catches_the_error(host, tmp_path):
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError, TimeoutError)):
        ch06.download_and_unzip_spam_data(f"{host.url}/away.zip", *places(tmp_path))


def test_json_is_fetched_once(host, tmp_path):
    entries = [{"instruction": "Naïve?", "input": "", "output": "Yes."}]
    host.files["/data.json"] = json.dumps(entries, ensure_ascii=False).encode()
    for _ in range(2):
        assert ch07.download_and_load_file(str(tmp_path / "data.json"), f"{host.url}/data.json") == entries
    assert host.asked == ["/data.json"]
