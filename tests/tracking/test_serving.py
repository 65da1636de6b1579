"""The registered models behind MLflow's own server, asked over HTTP, from where the workspace is gone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiktoken
import torch
from safetensors.torch import load_file
from served_project import LABELS, LONGEST, make_project

from gpt_from_scratch.data.instructions.entries import format_prompt
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tracking import registry
from gpt_from_scratch.tracking.registry import register_models
from gpt_from_scratch.tracking.server import connect

MESSAGES = ["You won a free prize! Reply WIN now.", "Shall we meet at seven?", "word " * 100]
ASKED = "Every effort moves you"
Ask = Callable[[Any], tuple[int, Any]]


@pytest.fixture(scope="session")
def registered(made, root, tmp_path_factory) -> Path:
    """A project with three registered models, of which nothing is left but MLflow's store, and the models apart."""
    project = tmp_path_factory.mktemp("registered")
    shutil.copy(made / "mlflow.db", project / "mlflow.db")
    with closing(sqlite3.connect(project / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ?", ((project / "mlartifacts").as_uri(),))
    make_project(project, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "cache_folder", lambda root: None)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert len(register_models(project)) == 3
    (project / "models").rename(project / "apart")
    for left in ("params.yaml", "dvc.yaml"):
        (project / left).unlink()
    shutil.rmtree(project / "metrics")
    return project


@pytest.fixture(scope="session")
def surroundings(registered, tmp_path_factory) -> dict[str, Any]:
    """Where MLflow's commands run: elsewhere, where this package would end them."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "gpt_from_scratch").mkdir()
    (elsewhere / "gpt_from_scratch/__init__.py").write_text("raise SystemExit('not the copy of the model')\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(elsewhere),
        "MLFLOW_TRACKING_URI": f"sqlite:///{registered}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_MODELS_WORKERS": "1",
    }
    return {"cwd": tmp_path_factory.mktemp("nowhere"), "env": environment}


@contextmanager
def served(name: str, surroundings: dict[str, Any]) -> Iterator[Ask]:
    """Serve a model's champion and give a function that asks it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = surroundings["cwd"] / f"{name}.log"
    arguments = ["-m", f"models:/{name}@champion", "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", *arguments],
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **surroundings,
    )

    def ask(content: Any) -> tuple[int, Any]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                    break
            except OSError:
                time.sleep(0.2)
        yield ask
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def ask_classifier(surroundings) -> Iterator[Ask]:
    with served("spam-classifier", surroundings) as ask:
        yield ask


@pytest.fixture
def tokenizer(registered) -> tiktoken.Encoding:
    return load_tokenizer(registered / "apart/classifier")


def test_labels_and_probabilities_come_back(ask_classifier, registered, tokenizer) -> None:
    """Held against Hugging Face's GPT-2, the head beside it by hand."""
    from transformers import GPT2Model

    folder = registered / "apart/classifier"
    body, tensors = GPT2Model.from_pretrained(folder).eval(), load_file(folder / "model.safetensors")
    rows = torch.full((len(MESSAGES), LONGEST), tokenizer.eot_token)
    for row, message in zip(rows, MESSAGES, strict=True):
        ids = tokenizer.encode(message)[:LONGEST]
        row[: len(ids)] = torch.tensor(ids)
    with torch.no_grad():
        last = body(rows).last_hidden_state[:, -1]
    expected = torch.softmax(last @ tensors["score.weight"].T + tensors["score.bias"], dim=-1)
    assert expected.std(dim=0).min() > 1e-3  # the messages are told apart

    status, answer = ask_classifier({"dataframe_records": [{"text": message} for message in MESSAGES]})
    assert status == 200
    found = answer["predictions"]
    assert [row["label"] for row in found] == [LABELS[best] for best in expected.argmax(dim=1)]
    for place, label in enumerate(LABELS):
        assert [row[f"probability_{label}"] for row in found] == pytest.approx(expected[:, place].tolist(), abs=1e-5)
    assert [row["cut"] for row in found] == [False, False, True]
    alone = ask_classifier({"inputs": {"text": [MESSAGES[1]]}})[1]["predictions"][0]
    assert alone["probability_spam"] == pytest.approx(found[1]["probability_spam"], abs=1e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"inputs": {"text": ["good", "x" * 10_001]}}, "row 2, text: expected at most 10000 letters, found 10001"),
        ({"inputs": {"text": ["  "]}}, "row 1, text: expected a text, found none"),
        ({"inputs": {"text": ["a"] * 1001}}, "expected 1 to 1000 rows, found 1001"),
        ({"dataframe_split": {"columns": ["text"], "data": []}}, "expected 1 to 1000 rows, found 0"),
    ],
)
def test_what_is_too_much_is_refused_in_one_sentence(ask_classifier, content, said) -> None:
    status, answer = ask_classifier(content)
    assert (status, answer["message"]) == (400, said)


@pytest.mark.parametrize("content", [b"{", {"inputs": {"words": ["a"]}}, {"texts": ["a"]}])
def test_what_is_no_such_request_is_refused(ask_classifier, content) -> None:
    assert ask_classifier(content)[0] == 400
    assert ask_classifier({"inputs": {"text": ["still there"]}})[0] == 200


def greedy(folder: Path, tokenizer: tiktoken.Encoding, prompt: str, tokens: int) -> str:
    """Return a text and its greedy continuation by Hugging Face's model."""
    from transformers import GPT2LMHeadModel

    ids = torch.tensor([tokenizer.encode(prompt)])
    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    options = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": tokenizer.eot_token}
    return tokenizer.decode(model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0].tolist())


@pytest.mark.slow
def test_the_writer_continues_texts(surroundings, registered, tokenizer) -> None:
    with served("pretrained-gpt", surroundings) as ask:
        prompt = {"dataframe_split": {"columns": ["prompt"], "data": [[ASKED]]}}

        def written(rows: int = 1, **params: Any) -> list[str]:
            status, answer = ask({"inputs": {"prompt": [ASKED] * rows}, "params": params})
            assert status == 200, answer
            return [row["text"] for row in answer["predictions"]]

        status, answer = ask(prompt | {"params": {"max_new_tokens": 12}})
        expected = greedy(registered / "apart/pretrain", tokenizer, ASKED, 12)
        assert (status, answer) == (200, {"predictions": [{"text": expected}]})

        drawn = {"max_new_tokens": 12, "temperature": 1.5}
        first = written(seed=1, **drawn)
        assert first == written(seed=1, **drawn) != written(seed=2, **drawn)
        assert written(rows=3, seed=1, **drawn) == first * 3
        assert written(seed=1, top_k=1, **drawn) == [expected]
        assert written(max_new_tokens=150)[0].startswith(expected)  # beyond the context

        for params, said in (
            ({"max_new_tokens": 0}, "max_new_tokens: expected 1 to 1024, found 0"),
            ({"max_new_tokens": 1025}, "max_new_tokens: expected 1 to 1024, found 1025"),
            ({"temperature": -0.5}, "temperature: expected 0 to 100.0, found -0.5"),
            ({"top_k": -1}, "top_k: expected 0 to 2147483647, found -1"),
        ):
            status, answer = ask(prompt | {"params": params})
            assert (status, answer["message"]) == (400, said)
        status, answer = ask(prompt | {"params": {"temperature": "hot"}})
        assert status == 400 and "temperature" in answer["message"]
        status, answer = ask({"inputs": {"prompt": ["a b c d e f g h " * 40]}})
        assert status == 400 and answer["message"].startswith("row 1, prompt: expected at most 128 tokens, the model's")


@pytest.mark.slow
def test_the_instructor_answers(surroundings, registered, tokenizer) -> None:
    entry = {"instruction": "Name a colour.", "input": "", "output": ""}
    prompt = format_prompt(entry)
    text = greedy(registered / "apart/instruct", tokenizer, prompt, 8).removeprefix(prompt)
    with served("instruction-gpt", surroundings) as ask:
        records = [{"instruction": entry["instruction"]}]
        status, answer = ask({"dataframe_records": records, "params": {"max_new_tokens": 8}})
        assert (status, answer) == (200, {"predictions": [{"answer": text.replace("### Response:", "").strip()}]})
        records = [{"instruction": "Say it again.", "input": "Good day."}, {"instruction": "Say it.", "input": ""}]
        status, answer = ask({"dataframe_records": records, "params": {"max_new_tokens": 40}})
        assert status == 200 and len(answer["predictions"]) == 2
        status, answer = ask({"dataframe_records": records, "params": {"max_new_tokens": 100}})
        said = "row 1, instruction: expected at most 128 tokens with the answer, the model's context, found "
        assert status == 400 and answer["message"].startswith(said)
        assert answer["message"].endswith(" and 100 to generate; shorten it, or set max_new_tokens lower")
        assert ask({"dataframe_records": [{"input": "no instruction"}]})[0] == 400


@pytest.mark.slow
def test_predict_reads_a_file_and_writes_one(surroundings, ask_classifier) -> None:
    content = {"dataframe_split": {"columns": ["text"], "data": [[message] for message in MESSAGES]}}
    given, out = surroundings["cwd"] / "given.json", surroundings["cwd"] / "found.json"
    given.write_text(json.dumps(content))
    arguments = ["-m", "models:/spam-classifier@champion", "--env-manager", "local", "-i", str(given), "-o", str(out)]
    command = [sys.executable, "-m", "mlflow", "models", "predict", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, **surroundings)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text()) == ask_classifier(content)[1]


@pytest.fixture(scope="session")
def in_process(registered) -> Callable[[str], Any]:
    """A function that gives MLflow's scoring server over a champion, in this process, and the model."""
    from fastapi.testclient import TestClient
    from mlflow import pyfunc
    from mlflow.pyfunc import scoring_server

    def client(name: str) -> Any:
        tracking = connect(registered)
        version = tracking.client.get_model_version_by_alias(name, "champion")
        model = pyfunc.load_model(version.source)
        return TestClient(scoring_server.init(model), raise_server_exceptions=False), model

    return client


def payloads(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield the same rows in each of MLflow's formats: its name, the body and its type."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = [[row.get(column) for column in columns] for row in rows]
    few = {"max_new_tokens": 3} if "instruction" in columns else {}
    for name, content in {
        "dataframe_records": rows,
        "dataframe_split": {"columns": columns, "data": table},
        "instances": rows,
        "inputs": {column: [row.get(column) for row in rows] for column in columns},
    }.items():
        yield name, json.dumps({name: content, **({"params": few} if few else {})}), "application/json"
    if not few:  # a CSV file has no place for params
        lines = [columns, *([cell or "" for cell in row] for row in table)]
        yield "csv", "".join(",".join(line) + "\n" for line in lines), "text/csv"


def test_a_missing_input_is_an_empty_one_in_every_format(in_process) -> None:
    client, model = in_process("instruction-gpt")

    def answers(inputs: list[dict[str, Any]]) -> dict[str, list[str]]:
        rows = [{"instruction": "Do it", **given} for given in inputs]
        found = {}
        for name, body, kind in payloads(rows):
            answer = client.post("/invocations", content=body, headers={"Content-Type": kind})
            assert answer.status_code == 200, (name, answer.text)
            found[name] = [row["answer"] for row in answer.json()["predictions"]]
        return found

    ((first, second),) = {tuple(found) for found in answers([{"input": ""}, {"input": "x"}]).values()}
    assert first != second
    for given in ([{}, {"input": "x"}], [{"input": None}, {"input": "x"}]):
        assert {tuple(found) for found in answers(given).values()} == {(first, second)}
    assert {tuple(found) for found in answers([{"input": None}] * 2).values()} == {(first, first)}
    word = answers([{"input": "None"}, {"input": "x"}])["inputs"][0]  # a text like any other
    for missing in (None, float("nan"), pd.NA):
        frame = pd.DataFrame({"instruction": ["Do it", "Do it"], "input": [missing, "x"]})
        assert model.predict(frame, {"max_new_tokens": 3})["answer"].tolist() == [first, second]
    assert word != first


def test_a_required_text_that_is_missing_is_refused_in_every_format(in_process) -> None:
    client, _ = in_process("spam-classifier")
    for rows, wrong in (([{"text": None}], 1), ([{"text": "a"}, {"text": None}], 2), ([{"text": None, "b": "x"}], 1)):
        for name, body, kind in payloads(rows):
            if name == "csv" and len(rows[0]) == 1:
                continue  # pandas takes an empty line for none at all
            answer = client.post("/invocations", content=body, headers={"Content-Type": kind})
            assert answer.status_code == 400, (name, answer.text)
            assert answer.json()["message"] == f"row {wrong}, text: expected a text, found none"


def test_params_of_the_sampling_are_those_of_the_engine_and_refused_in_one_sentence(in_process) -> None:
    client, _ = in_process("pretrained-gpt")

    def written(**params: Any) -> tuple[int, str]:
        content = {"inputs": {"prompt": [ASKED]}, "params": {"max_new_tokens": 12, **params}}
        answer = client.post("/invocations", json=content)
        found = answer.json()
        return answer.status_code, found["predictions"][0]["text"] if answer.is_success else found["message"]

    _, greedy = written()
    assert written(temperature=1.5, top_p=0.0) == written(temperature=1.5, min_p=1.0) == (200, greedy)
    assert written(temperature=None, top_k=None) == (200, greedy) != written(repetition_penalty=100.0)
    new = greedy.removeprefix(ASKED)
    assert written(stop=["\0", new[4:6]]) == (200, ASKED + new[: new.index(new[4:6])])
    assert written(top_p=1.5) == (400, "top_p: expected 0 to 1, found 1.5")
    assert written(min_p=-0.5) == (400, "min_p: expected 0 to 1, found -0.5")
    assert written(repetition_penalty=0.0) == (400, "repetition_penalty: expected 0.01 to 100.0, found 0.0")
    assert written(stop=[""]) == (400, "stop: expected Unicode texts of at least one character, found ''")
    said = "stop: expected at most 16 texts of 100 letters, found others"
    assert written(stop=["a"] * 17) == written(stop=[None]) == (400, said)
    assert written(stop="a")[0] == 400


def test_no_answer_holds_a_trace_or_a_path(in_process, registered) -> None:
    client, model = in_process("spam-classifier")
    model.unwrap_python_model()._tokenizer = None  # whatever may go wrong inside
    bodies = [json.dumps({"dataframe_records": [{"text": "a"}]}), json.dumps({"inputs": {"other": ["a"]}}), "{", "[1]"]
    csv = [("text/csv", 'text\n"a'), ("text/csv", b"\xff")]
    for kind, body in [*(("application/json", body) for body in bodies), *csv]:
        answer = client.post("/invocations", content=body, headers={"Content-Type": kind})
        assert answer.status_code in (400, 500)
        assert not re.search(r"Traceback|stack_trace|File \"|\.py\b|/tmp|/home", answer.text), answer.text
        assert str(registered) not in answer.text
