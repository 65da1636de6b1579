"""Judges, against an endpoint of this machine."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import pytest
from scipy.stats import pearsonr, spearmanr

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.judge import Judge, judged, judging_prompt, scores_of
from gpt_from_scratch.params import sections
from tests.chat_endpoint import ChatEndpoint, chat

ENTRY = {"instruction": "Name a bird.", "input": "", "output": "A wren."}
KEY = "sk-secret-0123456789"


class Endpoint(ChatEndpoint):
    def judge(self, **options):
        settings = sections.JudgeParams(name="llama", url=self.url, model="llama3", seed=123)
        return Judge(settings, **{"answer_seconds": 20.0, "pause_seconds": 0.01, **options})


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.delenv("GPT_JUDGE_KEY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody's: a proxy is not for this machine
    found = Endpoint()
    yield found
    found.close()


def test_what_is_asked(endpoint):
    assert endpoint.judge().score(ENTRY, "A sparrow?") == 50
    ((path, headers, body),) = endpoint.asked
    assert path == "/v1/chat/completions"
    assert {key: body[key] for key in ("model", "temperature", "seed")} == {
        "model": "llama3",
        "temperature": 0,
        "seed": 123,
    }
    ((role, content),) = [(message["role"], message["content"]) for message in body["messages"]]
    assert (role, content) == ("user", judging_prompt(ENTRY, "A sparrow?"))
    for part in ("### Instruction:\nName a bird.", "`A wren.`", "`A sparrow?`", "from 0 to 100", "integer number only"):
        assert part in content
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("87", 87),
        (" 0\n", 0),
        ("100", 100),
        ("101", None),
        ("-1", None),
        ("85.5", None),
        ("I would give it 85.", None),
        ("Score: 85", None),
        ("85/100", None),
        ("", None),
        ("\u0663", None),
        ("9" * 5000, None),
        ("garbage \ufffd{", None),
        (None, None),
        ("<think>\nMaybe 20?\n</think>\n\n85", 85),
        ("A prompt began it: maybe 20?</think>85", 85),
        ("<think>It never comes to an end: 85", None),
        ((200, chat("10", "length"), {}), None),  # of 100
    ],
)
def test_only_a_whole_number_from_0_to_100_is_a_score(endpoint, reply, score):
    endpoint.replies = [reply]
    assert endpoint.judge().score(ENTRY, "A wren.") == score


def test_an_answer_without_a_word_is_not_asked_about(endpoint):
    assert endpoint.judge().score(ENTRY, " \n") == 0
    assert endpoint.asked == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_asked_again(endpoint, status):
    endpoint.replies = [(status, "later", {}), (status, "later", {}), "77"]
    assert endpoint.judge().score(ENTRY, "A wren.") == 77
    assert len(endpoint.asked) == 3


def test_a_busy_judge_is_waited_for_as_long_as_it_asks(endpoint):
    endpoint.replies = [(429, "busy", {"Retry-After": "1"}), "60"]
    began = time.monotonic()
    assert endpoint.judge().score(ENTRY, "A wren.") == 60
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("said", ["soon", "0.5", "-5"])
def test_a_busy_judge_that_names_no_time_is_asked_again_as_usual(endpoint, said):
    endpoint.replies = [(429, "busy", {"Retry-After": said}), "60"]
    assert endpoint.judge().score(ENTRY, "A wren.") == 60


def test_a_broken_connection_is_made_again(endpoint):
    endpoint.replies = [lambda handler: handler.connection.shutdown(socket.SHUT_RDWR), "31"]
    assert endpoint.judge().score(ENTRY, "A wren.") == 31


def test_a_judge_that_stays_broken_is_an_error_in_the_end(endpoint):
    endpoint.replies = [(500, "no", {})]
    with pytest.raises(InputError, match=r"judge llama: http://127.0.0.1:\d+/v1/chat/completions: .*found status 500"):
        endpoint.judge().score(ENTRY, "A wren.")
    assert len(endpoint.asked) == 5


@pytest.mark.parametrize("where", ["before the answer", "inside of it"])
def test_a_judge_that_hangs(endpoint, where):
    released = threading.Event()

    def hang(handler):
        if where == "inside of it":
            handler.send_response(200)
            handler.send_header("Content-Length", "100")
            handler.end_headers()
            handler.wfile.write(b'{"cho')
            handler.wfile.flush()
        released.wait(30)

    endpoint.replies = [hang]
    try:
        with pytest.raises(InputError, match=r"judge llama: .*timed out"):
            endpoint.judge(answer_seconds=0.3).check()
    finally:
        released.set()
    assert len(endpoint.asked) == (2 if where == "before the answer" else 1)


def test_a_judge_that_never_ends_its_answer(endpoint):
    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b" ")
                time.sleep(0.02)

    endpoint.replies = [drip]
    with pytest.raises(InputError, match=r"judge llama: .*found it unfinished after 0\.2 seconds"):
        endpoint.judge(answer_seconds=0.2).check()


def test_an_address_that_is_none():
    with pytest.raises(InputError, match=r"judge a: http://\[::1/chat/completions: expected an answer of b, found"):
        Judge(sections.JudgeParams(name="a", url="http://[::1", model="b")).check()


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ((404, '{"error": "model llama3 not found"}', {}), "found status 404 Not Found: .*model llama3 not found"),
        ((401, "bad key sk-secr", {}), r"found status 401 Unauthorized \(is GPT_JUDGE_KEY set\?\)$"),
        ((302, "", {"Location": "http://127.0.0.1:1/v1"}), "found status 302"),
        ((200, "<html>", {}), "found '<html>'"),
        ((200, "[]", {}), r"found '\[\]'"),
        ((200, '{"choices": []}', {}), "found '{.*choices"),
        ((200, "[" * 10**5, {}), "expected an answer of llama3, found"),
    ],
)
def test_a_judge_that_is_none_is_noticed_at_once(endpoint, reply, complaint):
    endpoint.replies = [reply]
    with pytest.raises(InputError, match=complaint) as caught:
        endpoint.judge().check()
    assert "\n" not in str(caught.value)
    assert len(endpoint.asked) == 1


def test_a_judge_that_is_away_is_noticed_at_once(endpoint):
    endpoint.server.shutdown()
    endpoint.server.server_close()
    with pytest.raises(InputError, match=r"judge llama: .*expected an answer of llama3, found .*[Cc]onnection"):
        endpoint.judge().check()


def test_the_key_goes_to_the_judge_and_nowhere_else(endpoint, monkeypatch, caplog):
    monkeypatch.setenv("GPT_JUDGE_KEY", f"{KEY}\n")
    caplog.set_level("DEBUG")
    endpoint.judge().check()
    assert endpoint.asked[0][1]["Authorization"] == f"Bearer {KEY}"
    endpoint.replies = [(400, f"your key {KEY} is odd", {})]
    with pytest.raises(InputError) as caught:
        endpoint.judge().check()
    assert "***" in str(caught.value)
    assert KEY not in str(caught.value) + caplog.text


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://judge.example/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://[::1]:8/v1", True),
        ("http://judge.example/v1", False),
        ("http://127.0.0.1.example/v1", False),
    ],
)
def test_the_key_is_sent_where_nobody_else_reads_it(monkeypatch, url, sent):
    monkeypatch.setenv("GPT_JUDGE_KEY", KEY)
    asked = []

    def send(adapter, request, **options):
        asked.append(request)
        raise ConnectionRefusedError

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
    with pytest.raises(ConnectionRefusedError):
        Judge(sections.JudgeParams(name="a", url=url, model="b", seed=1)).check()
    assert (asked[0].headers.get("Authorization") == f"Bearer {KEY}") is sent


@pytest.mark.parametrize("key", ["two\nlines", "naïve", "a\x00b"])
def test_a_key_that_is_none(endpoint, monkeypatch, key):
    if "\0" in key:
        monkeypatch.setattr("os.environ", {"GPT_JUDGE_KEY": key})
    else:
        monkeypatch.setenv("GPT_JUDGE_KEY", key)
    with pytest.raises(InputError, match="GPT_JUDGE_KEY in the environment: expected a key") as caught:
        endpoint.judge()
    assert key not in str(caught.value)


def test_scores_that_cannot_be_read_are_counted(endpoint):
    endpoint.replies = ["10", "no idea", "90"]
    done = []
    scores = scores_of(endpoint.judge(), [ENTRY] * 4, ["a", "b", "c", ""], done.append)
    assert scores == [10, None, 90, 0]
    assert sum(done) == 4
    assert judged({"llama": scores}) == {
        "judges": {"llama": {"mean": pytest.approx(100 / 3), "scored": 3, "unparsable": 1}},
        "judge_correlations": {},
    }


def test_the_correlation_of_each_two_judges_is_scipys():
    scores = {
        "a": [10, 20, None, 55, 55, 90, 0],
        "b": [12, 35, 50, 40, 100, None, 0],
        "c": [90, 20, 30, 20, 10, 0, 100],
    }
    found = judged(scores)["judge_correlations"]
    assert list(found) == ["a and b", "a and c", "b and c"]
    for names, pair in found.items():
        both = [row for row in zip(*(scores[name] for name in names.split(" and ")), strict=True) if None not in row]
        assert pair["responses"] == len(both) >= 5
        assert pair["pearson"] == pytest.approx(pearsonr(*zip(*both, strict=True)).statistic)
        assert pair["spearman"] == pytest.approx(spearmanr(*zip(*both, strict=True)).statistic)
    assert found["a and b"]["pearson"] != pytest.approx(found["a and b"]["spearman"])


@pytest.mark.parametrize("other", [[5, 5, 5], [None, None, None], [1, None, None]])
def test_a_correlation_that_does_not_exist(other):
    found = judged({"a": [1, 2, 3], "b": other})
    json.dumps(found, allow_nan=False)
    pair = found["judge_correlations"]["a and b"]
    assert (pair["pearson"], pair["spearman"]) == (None, None)
    assert found["judges"]["b"]["mean"] == (None if other[0] is None else other[0])
