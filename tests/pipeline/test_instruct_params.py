"""Prompt style, masking, data and preferences reach training, samples, facts and evaluation; judges the results."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest.mock import MagicMock

import pytest
import torch

from gpt_from_scratch.data.instructions.entries import read_entries, split_entries
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figures
from gpt_from_scratch.evaluation.instructions import response_metrics
from gpt_from_scratch.evaluation.judge import Judge
from gpt_from_scratch.files.writing import sha256, write_json
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.recipes.evaluate import evaluate, evaluate_instructions
from gpt_from_scratch.recipes.instruct import instruct
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.resuming import Saver
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.huggingface import load_facts, load_model, save_model

CPU = torch.device("cpu")
SMALL = {"epochs": 1, "eval_batches": 1, "sample_tokens": 3, "max_length": 160}


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    """A project's folder with a very small base model and thirty instructions."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("data/raw", "data/sample"):
        (folder / name).mkdir(parents=True)
    entries = json.loads((root / "data/sample/instruction-data.json").read_text(encoding="utf-8"))
    raw = folder / "data/raw"
    write_json(raw / "instruction-data.json", entries[:30])
    write_json(folder / "data/own.json", entries[30:70])
    write_json(
        raw / "sources.json",
        {"data": "sample", "sha256": {"instruction-data.json": sha256(raw / "instruction-data.json")}},
    )
    shutil.copy(root / "data/sample/preference-data.json", folder / "data/sample")
    torch.manual_seed(1)
    model = GPTModel(GPTConfig(vocab_size=1536, context_length=192, emb_dim=16, n_heads=2, n_layers=1))
    base = folder / "models/gpt2/tiny"
    base.mkdir(parents=True)
    save_model(model, base, root / "data/sample/bpe", {"pretrained": "synthetic"})
    return folder


@pytest.fixture
def work_with(root, project, tmp_path):
    """Makes a workspace of the project, with parameters of the section `instruct` changed."""

    def make(evaluate=(), **changes):
        values = load_params(root / "profiles/quick.yaml").model_dump()
        values["instruct"] |= {**SMALL, **changes}
        values["runtime"] |= {"portable": False, "offline": False}
        values["evaluate"] |= {"response_tokens": 3, **dict(evaluate)}
        shutil.rmtree(project / "metrics", ignore_errors=True)
        saver = Saver(Checkpoints(tmp_path / "checkpoints"), 1e9)
        return Workspace(project, Params.model_validate(values), MagicMock(), saver=saver)

    return make


def metrics_of(project):
    return json.loads((project / "metrics/finetune_instruct.json").read_text())


def test_the_books_way_leaves_no_other_facts_than_before(project, work_with):
    instruct(work_with())
    assert load_facts(project / "models/instruct") == {"base": "tiny", "data": "sample", "pretrained": "synthetic"}
    found = {"base", "cut", "data", "final", "initial", "pretrained", "seen", "steps"}
    assert set(metrics_of(project)) == found


def test_style_masking_and_data(project, work_with):
    work = work_with(prompt_style="phi3", data="data/own.json")
    instruct(work)
    plain = metrics_of(project)
    assert plain["steps"] == 34 // 8
    facts = load_facts(project / "models/instruct")
    assert (facts["prompt_style"], facts["instructions"]) == ("phi3", "data/own.json")
    (sample,) = json.loads((project / "metrics/samples/finetune_instruct.json").read_text())
    assert sample["text"].startswith("<|user|>\n")
    model, tokenizer = load_model(project / "models/instruct"), load_tokenizer(project / "models/instruct")
    test = split_entries(read_entries(project / "data/own.json"), 0.85, 0.1)[1]
    found = evaluate_instructions(work, CPU)
    assert found["entries"] == len(test) == 4
    for style, same in (("phi3", True), ("alpaca", False)):
        for name, value in response_metrics(model, tokenizer, test, 160, 16, style).items():
            assert (found[name] == pytest.approx(value)) == same
    responses = json.loads((project / "metrics/responses.json").read_text())
    assert [response["instruction"] for response in responses] == [entry["instruction"] for entry in test]
    assert all("scores" not in response for response in responses)

    instruct(work_with(prompt_style="phi3", data="data/own.json", mask_instruction=True))
    masked = metrics_of(project)
    assert masked["initial"]["train_loss"] != plain["initial"]["train_loss"]
    assert masked["seen"] == plain["seen"]


def test_preferences(project, work_with):
    work = work_with(objective="preferences", data="data/sample/preference-data.json", epochs=2)
    instruct(work)
    facts = load_facts(project / "models/instruct")
    assert (facts["objective"], facts["preferences"]) == ("preferences", "data/sample/preference-data.json")
    found = metrics_of(project)
    assert found["steps"] == 2 * (51 // 8)
    assert found["initial"]["train_loss"] == pytest.approx(0.693147, abs=1e-5)
    assert found["final"]["train_loss"] < 0.6931
    assert [row["epoch"] for row in found["epochs"]] == [1, 2]
    assert found["last_epoch"]["train_reward_margin"] > 0
    named = {name for call in work.tracker.metrics.call_args_list for name in call.args[0]}
    assert {"initial_train_reward_accuracy", "initial_validation_reward_margin"} < named
    logged = {call.args[0].name for call in work.tracker.log.call_args_list}
    assert {"train_reward_accuracy", "validation_reward_margin", "train_chosen_reward"} < logged
    assert sorted(path.name for path in (project / "metrics/plots").iterdir()) == ["finetune_instruct.csv"]
    assert evaluate_instructions(work, CPU)["entries"] == 6
    pairs = json.loads((project / "data/sample/preference-data.json").read_text(encoding="utf-8"))
    responses = json.loads((project / "metrics/responses.json").read_text(encoding="utf-8"))
    assert [(row["instruction"], row["output"]) for row in responses] == [
        (pair["instruction"], pair["chosen"]) for pair in pairs[51:57]
    ]


def test_conversations(project, work_with):
    turns = [(f"Say {word}.", f"{word} {word}") for word in ("one", "two", "three", "four")] * 10
    chat = [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    chats = [
        {"messages": [{"role": "system", "content": "Be brief."}, *chat[start : start + 6]]} for start in range(30)[::2]
    ]
    (project / "data/chat.jsonl").write_text("\n".join(map(json.dumps, chats * 2)))
    work = work_with(data="data/chat.jsonl", prompt_style="phi3", batch_size=4)
    instruct(work)
    facts, found = load_facts(project / "models/instruct"), metrics_of(project)
    assert (facts["instructions"], facts["turns"]) == ("data/chat.jsonl", "3")
    assert found["steps"] == 25 // 4
    assert found["cut"] == 0
    assert found["final"]["train_loss"] < found["initial"]["train_loss"]
    (sample,) = json.loads((project / "metrics/samples/finetune_instruct.json").read_text())
    assert sample["prompt"].startswith("<|system|>\nBe brief.\n<|user|>\nSay ")
    assert sample["prompt"].count("<|user|>") == 1
    assert evaluate_instructions(work, CPU)["entries"] == 3
    responses = json.loads((project / "metrics/responses.json").read_text())
    for response, given in zip(responses, (chats * 2)[25:28], strict=True):
        messages = given["messages"]
        assert (response["instruction"], response["output"]) == (messages[-2]["content"], messages[-1]["content"])
        assert [turn["output"] for turn in response["earlier_turns"]] == [
            messages[2]["content"],
            messages[4]["content"],
        ]


@pytest.mark.parametrize("recipe", [instruct, lambda work: evaluate_instructions(work, CPU)])
@pytest.mark.parametrize(
    ("objective", "data"), [("answers", "data/sample/preference-data.json"), ("preferences", "data/own.json")]
)
def test_data_of_the_other_objective_are_refused(project, work_with, recipe, objective, data):
    instruct(work_with())
    with pytest.raises(InputError, match=rf"{data}: expected .*instruct.objective is {objective}.*: set instruct.data"):
        recipe(work_with(objective=objective, data=data))


def test_a_base_that_was_taught_otherwise_leaves_none_of_that_in_the_facts(project, work_with):
    config = project / "models/gpt2/tiny/config.json"
    before = config.read_text()
    content = json.loads(before)
    content["gpt_from_scratch"] |= {"prompt_style": "phi3", "objective": "preferences"}
    config.write_text(json.dumps(content))
    try:
        instruct(work_with())
    finally:
        config.write_text(before)
    assert load_facts(project / "models/instruct") == {"base": "tiny", "data": "sample", "pretrained": "synthetic"}


def test_a_file_that_is_not_there(work_with):
    with pytest.raises(InputError, match=r"data/none\.json: file not found"):
        instruct(work_with(data="data/none.json"))


@pytest.fixture
def endpoint():
    """A chat endpoint whose scores are the seeds of those who ask, and once nonsense."""
    replies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            replies.append(body)
            content = "nonsense" if len(replies) == 2 else str(body["seed"])
            text = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_judges_score_the_answers(project, work_with, endpoint):
    instruct(work_with())
    judges = [{"name": name, "url": endpoint, "model": "llama3", "seed": seed} for name, seed in (("a", 40), ("b", 70))]
    work = work_with({"judges": judges})
    found = evaluate_instructions(work, CPU, [Judge(settings) for settings in work.params.evaluate.judges])
    assert found["judges"] == {
        "a": {"mean": 40.0, "scored": 2, "unparsable": 1},
        "b": {"mean": 70.0, "scored": 3, "unparsable": 0},
    }
    assert found["judge_correlations"] == {"a and b": {"pearson": None, "responses": 2, "spearman": None}}
    responses = json.loads((project / "metrics/responses.json").read_text())
    assert [response["scores"] for response in responses] == [
        {"a": 40, "b": 70},
        {"a": None, "b": 70},
        {"a": 40, "b": 70},
    ]
    assert figures({"instructions": found})["instructions/judges/a/mean"] == 40.0


def test_an_evaluation_whose_judge_is_away_ends_before_it_begins(work_with):
    judge = {"name": "a", "url": "http://127.0.0.1:9/v1", "model": "llama3", "seed": 1}
    with pytest.raises(InputError, match=r"judge a: http://127\.0\.0\.1:9/v1/chat/completions: expected an answer"):
        evaluate(work_with({"judges": [judge]}))  # there is nothing to evaluate yet either, and that comes later
