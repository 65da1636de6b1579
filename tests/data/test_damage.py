"""Damage that other libraries report in their own ways is reported in the project's."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gpt_from_scratch.data.fetch.download import fetch
from gpt_from_scratch.data.messages.spam import fold, read_messages
from gpt_from_scratch.data.raw.sources import Source
from gpt_from_scratch.errors import InputError

CONTENT = b"every effort moves you " * 50
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_no_damaged_byte_of_an_archive_ends_in_another_error_or_content(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", CONTENT)
    packed = buffer.getvalue()
    source = Source("file.zip", (), len(CONTENT), SHA256, "member")
    refused = 0
    for offset in range(len(packed)):
        (tmp_path / "file.zip").write_bytes(packed[:offset] + bytes([packed[offset] ^ 0xFF]) + packed[offset + 1 :])
        place = tmp_path / "raw" / str(offset)
        try:
            fetch(source, place, str(tmp_path))
        except InputError:
            refused += 1
            assert not place.exists()
        else:
            assert place.read_bytes() == CONTENT
    assert refused > 50


def test_a_downloaded_file_is_for_all_to_read(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        fetch(Source("x", (f"http://127.0.0.1:{server.server_port}/x",), len(CONTENT), SHA256), tmp_path / "x")
    finally:
        server.shutdown()
        server.server_close()
    (tmp_path / "y").touch()
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode


def test_a_quote_that_is_never_closed(tmp_path):
    path = tmp_path / "messages"
    path.write_text('ham\tone\nham\t"open\nspam\ttwo\n')
    assert len(read_messages(path, "clean")) == 3
    with pytest.raises(InputError, match="messages: expected quotes in pairs"):
        read_messages(path, "book")


@pytest.mark.parametrize("recipe", ["book", "clean"])
def test_a_carriage_return_in_a_message(tmp_path, recipe):
    path = tmp_path / "messages"
    path.write_bytes(b"ham\tone\r\nham\ttwo\rspam three\r\n")
    with pytest.raises(InputError, match="line 2: expected a message of one line, found a carriage return"):
        read_messages(path, recipe)


def test_folding_every_character_twice_changes_nothing_more():
    characters = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
    assert [sign for sign in characters if fold(fold(sign)) != fold(sign)] == []
    assert fold("ℋello") == fold("hello")
