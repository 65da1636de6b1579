"""Chapter 7: prompts and batches next to the reference's, and the judge behind Ollama's interface."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt_from_scratch.book import ch07

pytest.importorskip("llms_from_scratch")
from llms_from_scratch import ch07 as theirs_07


@pytest.fixture(scope="session")
def entries(mirror):
    return json.loads((mirror / "instruction-data.json").read_text(encoding="utf-8"))


def test_prompts_and_token_ids(entries, tokenizer):
    assert [ch07.format_input(entry) for entry in entries] == [theirs_07.format_input(entry) for entry in entries]
    ours, theirs = (module.InstructionDataset(entries[:80], tokenizer) for module in (ch07, theirs_07))
    assert ours.encoded_texts == theirs.encoded_texts
    assert ours[3] == theirs[3]
    assert len(ours) == len(ours.data) == 80


def test_the_books_batch():
    inputs, targets = ch07.custom_collate_fn(([0, 1, 2, 3, 4], [5, 6], [7, 8, 9]))
    assert inputs.tolist() == [[0, 1, 2, 3, 4], [5, 6, 50256, 50256, 50256], [7, 8, 9, 50256, 50256]]
    assert targets.tolist() == [[1, 2, 3, 4, 50256], [6, 50256, -100, -100, -100], [8, 9, 50256, -100, -100]]


# Token 9 is the pad, so that pads inside a sequence are met too.
@given(
    batch=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=7), min_size=1, max_size=4),
    limit=st.none() | st.integers(1, 9),
)
def test_batches_equal_the_references(batch, limit):
    pairs = [
        (ch07.custom_collate_draft_1(batch, 9), theirs_07.custom_collate_draft_1(batch, 9)),
        (ch07.custom_collate_draft_2(batch, 9), theirs_07.custom_collate_draft_2(batch, 9)),
        (
            ch07.custom_collate_fn(batch, pad_token_id=9, ignore_index=-1, allowed_max_length=limit),
            theirs_07.custom_collate_fn(batch, pad_token_id=9, ignore_index=-1, allowed_max_length=limit),
        ),
    ]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)


def test_check_if_running_knows_processes_without_a_name(monkeypatch):
    import psutil

    processes = [SimpleNamespace(info={"name": name}) for name in (None, "python", "ollama-server")]
    monkeypatch.setattr(psutil, "process_iter", lambda attributes: iter(processes))
    assert ch07.check_if_running("ollama")
    assert not ch07.check_if_running("vim")


@pytest.fixture
def ollama():
    """A server that answers like Ollama, in pieces, and keeps the questions."""
    answers, questions = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            questions.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            lines = [json.dumps({"message": {"content": piece}, "done": False}) for piece in answers.pop(0)]
            body = ("\n".join(lines) + "\n").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/api/chat", answers=answers, questions=questions)
    server.shutdown()
    server.server_close()


def test_query_model_joins_the_pieces(ollama):
    ollama.answers.append(["Llamas ", "eat ", "grass."])
    assert ch07.query_model("What do llamas eat?", url=ollama.url) == "Llamas eat grass."
    (question,) = ollama.questions
    assert question["model"] == "llama3"
    assert question["messages"] == [{"role": "user", "content": "What do llamas eat?"}]
    assert question["options"] == {"seed": 123, "temperature": 0, "num_ctx": 2048}


def test_scores_that_are_no_numbers_are_left_out(entries, monkeypatch, capsys):
    ours, theirs = [], []
    for module, prompts in ((ch07, ours), (theirs_07, theirs)):
        answers = iter(["85", "about 90", "10"])
        monkeypatch.setattr(module, "query_model", lambda prompt, _, p=prompts, a=answers: p.append(prompt) or next(a))
        judged = [{**entry, "model_response": "A word."} for entry in entries[:3]]
        assert module.generate_model_scores(judged, "model_response") == [85, 10]
        assert "Could not convert score: about 90" in capsys.readouterr().out
    assert ours == theirs
