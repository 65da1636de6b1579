"""Downloads from hosts that do wrong: no wrong byte at the final path, and one line that says why."""

from __future__ import annotations

import hashlib
import socket

import pytest
from download_checks import FROM_START, ONLY, PAGE, SHA256, SIZE, is_refused, is_right, pinned, unknown
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
)

from gpt_from_scratch.data.fetch import transfer
from gpt_from_scratch.data.fetch.download import fetch

pytestmark = pytest.mark.usefixtures("pauses")

FLIPPED = CONTENT[:777] + bytes([CONTENT[777] ^ 1]) + CONTENT[778:]
WRONG_HASH = f"expected sha256 {SHA256}, found {hashlib.sha256(FLIPPED).hexdigest()}"


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
