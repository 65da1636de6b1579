"""Data-set statistics, held against counting by hand; and the command that shows them."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from gpt_from_scratch import cli
from gpt_from_scratch.data.inspection.statistics import (
    distribution,
    instruction_statistics,
    message_statistics,
    text_statistics,
)
from gpt_from_scratch.data.text.documents import read_documents
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.params.sections import SplitSpam
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe
from gpt_from_scratch.weights.huggingface import save_model
from tests.params_file import set_params


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


def entry(number, **changes):
    return {"instruction": f"Say the number {number}.", "input": "", "output": f"It is {number * 7}."} | changes


def test_instructions(tokenizer):
    entries = [entry(number) for number in range(1, 21)]
    entries[4] = entry(4)
    entries[6] = entry(7, input=" ")
    entries[7] = entry(8, input="in words", output="Eight, eight, eight.")
    entries[18] = entry(2, output="It is 14..")  # a validation entry that training nearly has
    found = instruction_statistics(
        entries, tokenizer, train_fraction=0.8, test_fraction=0.1, max_length=90, threshold=0.85, most=3
    )
    texts = [
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        f"\n\n### Instruction:\n{one['instruction']}"
        + (f"\n\n### Input:\n{one['input']}" if one["input"] else "")
        + f"\n\n### Response:\n{one['output']}"
        for one in entries
    ]
    lengths = sorted(len(tokenizer.encode(text)) for text in texts)
    assert found["entries"] == 20
    assert found["empty_inputs"] == 19
    assert found["exact_duplicates"] == 1
    assert (found["characters"]["min"], found["characters"]["max"]) == (
        min(map(len, texts)),
        max(map(len, texts)),
    )
    assert found["tokens"]["median"] == (lengths[9] + lengths[10]) / 2
    assert found["longer_than_90_tokens"] == sum(length > 90 for length in lengths)
    assert found["split"] == {"train": 16, "test": 2, "validation": 2}
    leak = found["validation_entries_near_training"]
    assert leak["entries"] == 1
    assert (leak["closest"][0]["entry"], leak["closest"][0]["other"]) == (19, 2)
    assert leak["closest"][0]["other_text"] == "Say the number 2.\n\nIt is 14."
    assert found["test_entries_near_training"] == {"entries": 0, "closest": []}
    assert found["near_duplicates"]["pairs"] >= 1
    assert {"entry": 2, "other": 19}.items() <= found["near_duplicates"]["closest"][0].items()


def test_the_distribution_of_lengths():
    assert distribution(list(range(101))) == {"min": 0, "median": 50, "95%": 95, "max": 100}
    assert distribution([7]) == {"min": 7, "median": 7, "95%": 7, "max": 7}


def test_labelled_messages(tokenizer):
    rows = [
        (label, f"{label} message {'abcdefghij'[number]}") for label in ("red", "green", "blue") for number in range(9)
    ]
    rows += [("red", "red message a"), ("blue", "red message a"), ("blue", "BLUE message, B 3")]
    frame = pd.DataFrame(rows, columns=["Label", "Text"])
    split = SplitSpam(recipe="book", train=0.6, validation=0.2, balance=False, seed=1)
    found = message_statistics(frame, ("blue", "green", "red"), tokenizer, split)
    assert found["labels"] == {"blue": 11, "green": 9, "red": 10}
    assert (found["exact_duplicates"], found["folded_duplicates"], found["texts_with_several_labels"]) == (2, 3, 1)
    assert found["characters"]["max"] == max(len(text) for _, text in rows)
    assert found["split"] == {"train": 18, "validation": 6, "test": 6}
    shuffled = frame.sample(frac=1, random_state=1)["Text"].tolist()
    shared = sum(text in shuffled[:18] for text in shuffled[24:])
    assert found["test_messages_in_training"]["exact"] == shared
    few = message_statistics(frame[:9], ("red",), tokenizer, split.model_copy(update={"train": 0.01}))
    assert few["split"].startswith("split_spam: the train set has no red")


def test_plain_text(tokenizer, tmp_path):
    texts = ["The lighthouse stood. " * 50, "Ein Leuchtturm, größer.<|endoftext|>"]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text, encoding="utf-8")
    found = text_statistics(read_documents(sorted(tmp_path.iterdir()), False), tokenizer)
    ids = [tokenizer.encode(text, allowed_special="all") for text in texts]
    assert found == {
        "documents": 2,
        "characters": sum(map(len, texts)),
        "tokens": sum(map(len, ids)),
        "unique_tokens": len(set(ids[0]) | set(ids[1])),
    }


@pytest.fixture
def project(root, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sample").symlink_to(root / "data/sample")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_bytes((root / "profiles/quick.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["data", "check", *map(str, arguments)])


def test_the_command_on_instructions(project, root):
    path = root / "data/sample/instruction-data.json"
    answer = invoke(path, "--most", 1)
    assert answer.exit_code == 0, answer.output
    entries = len(json.loads(path.read_text(encoding="utf-8")))
    assert f"{path}: instructions" in answer.stdout
    assert f"entries                             {entries}" in answer.stdout
    assert answer.stdout.count("entry ") == 2
    (found,) = json.loads(invoke(path, "--json", "--threshold", "0.99").stdout)
    assert (found["entries"], found["near_duplicates"]["pairs"], found["threshold"]) == (entries, 0, 0.99)


def test_the_command_on_conversations(project):
    turn = [{"role": "user", "content": "Name a bird."}, {"role": "assistant", "content": "A wren."}]
    chats = [turn, turn * 3, *([turn] * 18)]
    (project / "chat.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    (found,) = json.loads(invoke("chat.jsonl", "--json").stdout)
    assert (found["entries"], found["turns"]["median"], found["turns"]["max"]) == (20, 1, 3)
    assert found["exact_duplicates"] == 18
    assert found["tokens"]["max"] == 3 * found["tokens"]["min"] + 2  # the ends of the earlier turns
    (project / "chat.jsonl").write_text(json.dumps({"messages": turn[:1]}))
    said = invoke("chat.jsonl").stderr
    assert said == "error: chat.jsonl, entry 1, message 1: expected an assistant's as the last, found user's\n"


def test_the_command_on_labelled_texts(project, root):
    (found,) = json.loads(invoke(root / "data/sample/SMSSpamCollection", "--json").stdout)
    assert found["labels"] == {"ham": 565, "spam": 342}
    assert found["test_messages_in_training"] == {"exact": 0, "folded": 0}
    (project / "reviews.tsv").write_text("stars\treview\n" + "".join(f"{n % 3}\ttext {'x' * n}\n" for n in range(60)))
    (found,) = json.loads(invoke("reviews.tsv", "--text", "review", "--label", "stars", "--json").stdout)
    assert found["labels"] == {"0": 20, "1": 20, "2": 20}


def test_the_command_on_other_names_and_folders(project):
    rows = "".join(f"{n % 3},text {'x' * n}\n" for n in range(60))
    (project / "a.CSV").write_text(rows, encoding="utf-16")
    options = ("--text", 2, "--label", 1, "--no-header", "--encoding", "utf-16", "--json")
    (found,) = json.loads(invoke("a.CSV", *options).stdout)
    assert found["labels"] == {"0": 20, "1": 20, "2": 20}
    for name in ("own/train.csv", "own/test.csv", "books/a.txt", "books/b/c.TXT", "books/.d.txt"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("label,text\n" + rows.replace("text", name))
    (found,) = json.loads(invoke("own", "--json").stdout)
    assert (found["kind"], found["split"]["test"]) == ("labelled texts", 60)
    (found,) = json.loads(invoke("books", "--json").stdout)
    assert (found["kind"], found["documents"]) == ("plain text", 2)
    (project / "b.JSONL").write_text("".join(json.dumps(entry(n)) + "\n" for n in range(30)))
    (found,) = json.loads(invoke("b.JSONL", "--json", "--most", 0).stdout)
    assert (found["kind"], found["entries"]) == ("instructions", 30)


def test_the_tokenizer_of_the_corpus_counts_what_it_will_tokenise(project, root, monkeypatch):
    params, text = project / "params.yaml", root / "data/sample/the-lighthouse.txt"
    own = {"pretrain.tokenizer": "corpus", "pretrain.vocab_size": 300}
    set_params(params, {**own, "pretrain.corpus.path": "data/sample/the-lighthouse.txt"})

    def counted(*names: str) -> list[str]:
        return [json.loads(invoke(root / "data/sample" / name, "--json").stdout)[0]["tokenizer"] for name in names]

    names = ("the-lighthouse.txt", "SMSSpamCollection", "instruction-data.json")
    fetched, untrained = "data/sample/bpe, 1,536 tokens", "; the corpus's own is not trained yet"
    assert counted(*names) == [fetched + untrained, fetched, fetched]
    (project / "trained").mkdir()
    save_bpe(*train_bpe(text.read_text(), 300), project / "trained")
    shape = {"context_length": 8, "emb_dim": 4, "n_heads": 1, "n_layers": 1}
    for data, vocabulary, bpe, own in (
        ("data/other.txt", 300, project / "trained", False),
        ("data/sample/the-lighthouse.txt", 1536, root / "data/sample/bpe", False),
        ("data/sample/the-lighthouse.txt", 300, project / "trained", True),
    ):
        shutil.rmtree(project / "models", ignore_errors=True)
        (project / "models/pretrain").mkdir(parents=True)
        save_model(
            GPTModel(GPTConfig(vocab_size=vocabulary, **shape)), project / "models/pretrain", bpe, {"data": data}
        )
        assert counted(names[0]) == ["models/pretrain, 300 tokens" if own else fetched + untrained]
    with monkeypatch.context() as patch:
        patch.setattr("gpt_from_scratch.pipeline.dvc.ran_with", lambda *_: False)
        assert counted(names[0]) == [fetched + untrained]
    set_params(params, {"classify.base": "pretrain", "instruct.base": "pretrain"})
    assert counted(*names) == ["models/pretrain, 300 tokens"] * 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a.csv", "--most", "3"], "--most: expected an option with an effect on a table, found one without"),
        (["a.csv", "--threshold", "0.5"], "--threshold: .* on a table"),
        (["a.txt", "--text", "x", "--no-header"], "--text, --no-header: .* on plain text"),
        (["a.json", "--encoding", "latin-1"], "--encoding: .* on instructions"),
        (["--label", "x"], "--label: .* on the data of params.yaml"),
    ],
)
def test_an_option_without_effect_is_refused(project, arguments, complaint):
    (project / "a.txt").write_text("a")
    assert re.search(f"error: {complaint}", invoke(*arguments).stderr)


def test_the_command_on_the_data_sets_of_the_parameters(project, root):
    set_params(project / "params.yaml", {"pretrain.corpus.path": "data/sample/the-lighthouse.txt"})
    assert "data/raw/sources.json: file not found" in invoke().stderr
    hashes = {name: sha256(root / "data/sample" / name) for name in ("SMSSpamCollection", "instruction-data.json")}
    (project / "data/raw").mkdir()
    for name in (*hashes, "bpe"):
        (project / "data/raw" / name).symlink_to(root / "data/sample" / name)
    (project / "data/raw/sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))
    found = json.loads(invoke("--json").stdout)
    assert [one["kind"] for one in found] == ["plain text", "labelled texts", "instructions"]
    assert found[0]["characters"] == len((root / "data/sample/the-lighthouse.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("none.json", None, "none.json: file not found"),
        ("none.txt", None, "none.txt: expected a file or a folder, found none"),
        ("a.json", b'[{"instruction": "x"}]', "a.json, entry 1: key 'output' is missing"),
        ("a.json", b"[", "a.json, line 1, column 2: not valid JSON"),
        ("a.csv", b"review,label\na,b\nc,d\n", "a.csv: expected a column 'text', found the columns"),
        ("a.txt", b"a\n\xff", "a.txt, line 2: expected UTF-8 text, found the byte 0xff"),
        ("a", b"ham\thello\nham\n", "a, line 2: expected a label, one tab and a message"),
    ],
)
def test_what_cannot_be_read_is_one_line(project, name, content, complaint):
    if content is not None:
        (project / name).write_bytes(content)
    answer = invoke(name)
    assert answer.exit_code == 1
    assert answer.stdout == ""
    (line,) = [line for line in answer.stderr.splitlines() if line.strip()]
    assert line.startswith(f"error: {complaint}")


def test_texts_of_others_cannot_steer_the_terminal(project):
    nasty = [entry(1, output="\x1b[2J gone"), entry(1, output="\x1b[2J gone 2"), entry(3), entry(4), entry(5), entry(6)]
    (project / "a.json").write_text(json.dumps([*nasty, *map(entry, range(7, 30))]))
    answer = invoke("a.json", "--threshold", "0.5")
    assert r"\x1b[2J gone" in answer.stdout
    assert "\x1b" not in answer.stdout
