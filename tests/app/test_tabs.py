"""What the tabs do, without a browser."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
import torch

from gpt_from_scratch.app import classify, inspect, instruct, limits, marking, write
from gpt_from_scratch.app.page import build
from gpt_from_scratch.app.shelf import Shelf
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.generation import Sampling, generate
from gpt_from_scratch.generation.answering import answers
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.weights.huggingface import save_model

EVIL = "<script>alert(1)</script> <img src=x onerror=alert(2)> ${alert(3)} {{alert(4)}}"


@pytest.fixture
def shelf(models: Path) -> Shelf:
    return Shelf(models)


def text_of(pane: str) -> str:
    """The pane's text as HTML; of a continuation without the marks of its tokens."""
    return re.sub("<.*?>", "", re.search(r'class="pane"[^>]*>(.*?)</div>', pane, re.S)[1])


def written(shelf, prompt, model, temperature, top_k, count, seed, cut, **seldom):
    """What the page's button does."""
    sampling = write.sampling_of(temperature, top_k, seed, **seldom)
    yield from write.continuations(shelf, prompt, model, sampling, count, cut)


def test_writing_is_token_by_token_and_the_engines(shelf: Shelf) -> None:
    steps = list(written(shelf, "The keeper", "pretrain", 1.0, 40, 12, 7, False))
    loaded = shelf.language_model("pretrain")
    ids = loaded.tokenizer.encode("The keeper")
    (new,) = generate(loaded.model, [ids], 12, Sampling(temperature=1.0, top_k=40, seed=7))
    assert len(steps) == 12
    assert [text_of(pane).startswith("The keeper") for pane, *_ in steps] == [True] * 12
    expected = "The keeper" + loaded.tokenizer.decode(new)
    assert text_of(steps[-1][0]) == marking.inert(expected)
    assert "12 tokens written" in steps[-1][0]
    assert all(bars.count("class=chosen") == 1 for _, bars, _ in steps)


def test_every_token_of_a_continuation_can_be_chosen_and_has_its_own_bars(shelf: Shelf) -> None:
    steps = list(written(shelf, "The keeper", None, 1.0, 40, 12, 7, False))
    pane, _, every = steps[-1]
    assert "<b>The keeper</b><label>" in pane
    assert re.findall(r'value="(\d+)"', pane) == [str(number) for number in range(12)]
    assert every == [bars for _, bars, _ in steps]
    assert [f"What new token {number} was" in bars for number, bars in enumerate(every, start=1)] == [True] * 12
    parts = marking.continuation("", ["", "é"], ["\ufffd", "\ufffd"])  # a character of two tokens
    assert re.findall(r'aria-label="(token.*?)">(.*?)</label>', parts) == [("token 1: �", ""), ("token 2: �", "é")]


def test_a_longer_prompt_is_cut_where_that_is_asked_for_alone(shelf: Shelf) -> None:
    with pytest.raises(InputError, match="keep its end with Cut longer texts"):
        next(written(shelf, "key " * 400, "pretrain", 0, 0, 5, 0, False))
    *_, (pane, *_) = written(shelf, "key " * 400, "pretrain", 0, 0, 5, 0, True)
    loaded = shelf.language_model("pretrain")
    ids = loaded.tokenizer.encode("key " * 400)
    (new,) = generate(loaded.model, [ids[-256:]], 5)
    assert text_of(pane) == marking.inert("key " * 400 + loaded.tokenizer.decode(new))
    assert f"Prompt has {len(ids)} tokens: cut to the last 256; 5 tokens written" in pane
    assert "cut" not in next(written(shelf, "key", "pretrain", 0, 0, 5, 0, True))[0]


def test_the_bars_are_what_was_drawn_from(shelf: Shelf) -> None:
    ((_, bars, _),) = written(shelf, "The keeper", "pretrain", 0.5, 3, 1, 7, False)
    loaded = shelf.language_model("pretrain")
    with torch.no_grad():
        logits = loaded.model(torch.tensor([loaded.tokenizer.encode("The keeper")]))[0, -1]
    three = (torch.topk(logits, 3).values / 0.5).exp()
    shown = [float(share) / 100 for share in re.findall(r'class="number">([\d.]+)%', bars)]
    assert shown[:3] == pytest.approx((three / three.sum()).tolist(), abs=6e-4)
    assert set(shown[3:]) == {0.0}


def test_the_settings_under_more(shelf: Shelf) -> None:
    seldom = {"top_p": 0.8, "min_p": 0.02, "penalty": 1.5}
    loaded = shelf.language_model("pretrain")
    ids = loaded.tokenizer.encode("The keeper")
    sampling = Sampling(1.0, 40, 7, top_p=0.8, min_p=0.02, repetition_penalty=1.5)
    (new,) = generate(loaded.model, [ids], 12, sampling)
    *_, (pane, *_) = written(shelf, "The keeper", "pretrain", 1.0, 40, 12, 7, False, **seldom)
    text = loaded.tokenizer.decode(new)
    assert text_of(pane) == marking.inert("The keeper" + text)
    stop = text[8:10]
    steps = list(written(shelf, "The keeper", "pretrain", 1.0, 40, 12, 7, False, **seldom, stop=stop))
    assert text_of(steps[-1][0]) == marking.inert("The keeper" + text[: text.index(stop)])
    assert f"{len(steps)} tokens written" in steps[-1][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": " \n"}, "Prompt: expected a text, found none"),
        ({"prompt": "x" * 2001}, "Prompt: expected at most 2,000 characters, found 2,001"),
        ({"prompt": "half \ud83d"}, "Prompt: expected Unicode text, found half of a pair"),
        ({"temperature": -0.1}, "Temperature: expected a number from 0 to 2, found -0.1"),
        ({"temperature": float("nan")}, "Temperature: expected a number from 0 to 2, found nan"),
        ({"top_k": 1.5}, "Top-k: expected a whole number from 0 to 200, found 1.5"),
        ({"count": 10**9}, "Tokens: expected a whole number from 1 to 200"),
        ({"prompt": "key " * 400, "count": 5}, "Prompt: expected at most 256 tokens, the model's context, found "),
        ({"seed": None}, "Seed: expected a whole number from 0 to 4294967295, found none"),
        ({"top_p": 1.1}, "Top-p: expected a number from 0 to 1, found 1.1"),
        ({"min_p": None}, "Min-p: expected a number from 0 to 1, found none"),
        ({"penalty": 0.5}, "Repetition penalty: expected a number from 1 to 2, found 0.5"),
        ({"stop": "x" * 101}, "Stop at: expected at most 100 characters, found 101"),
        ({"model": "../secret"}, "Model: expected one of pretrain, gpt2/tiny, instruct, found another"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_one_line(shelf: Shelf, changes: dict, message: str) -> None:
    arguments = {
        "prompt": "a",
        "model": "pretrain",
        "temperature": 1.0,
        "top_k": 0,
        "count": 1,
        "seed": 0,
        "cut": False,
    }
    arguments |= changes
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        next(written(shelf, **arguments))
    assert "\n" not in str(refused.value)


def test_what_is_written_in_a_text_is_never_markup(shelf: Shelf) -> None:
    parts = [
        *next(written(shelf, EVIL, "pretrain", 1.0, 0, 1, 0, False))[:2],
        marking.continuation("", [EVIL], [EVIL]),
        *classify.explained(shelf, EVIL),
        classify.classified(shelf, [EVIL])[0],
        *inspect.views(shelf, EVIL, "pretrain", 1, 1),
    ]
    for part in parts:
        assert re.findall(r"<script|<img src=x|\$\{|\{\{", part) == []
    assert "&lt;script&gt;" in parts[0]


def test_a_message_gets_its_likelier_label(shelf: Shelf) -> None:
    verdict, mattered = classify.explained(shelf, "You won a free prize")
    loaded = shelf.classifier()
    ids = loaded.tokenizer.encode("You won a free prize")
    padded = torch.tensor([ids + [299] * (60 - len(ids))])
    with torch.no_grad():
        probabilities = torch.softmax(loaded.model(padded)[0, -1], dim=-1)
    winner = int(probabilities.argmax())
    assert f"{('ham', 'spam')[winner]}, {probabilities[winner]:.1%}" in verdict
    assert mattered.count("<li ") == len(ids)
    assert "<small>+1.00</small>" in mattered or "<small>-1.00</small>" in mattered


def test_a_file_of_messages_becomes_a_table_and_a_csv_file(shelf: Shelf, tmp_path: Path) -> None:
    messages = ["You won a prize", "=1+1", 'He said "no", twice', "The keys"]
    text, table = tmp_path / "messages.txt", tmp_path / "messages.CSV"
    text.write_text("\ufeff" + "\r\n".join(messages) + "\n\n", encoding="utf-8")
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Number", "Text"), *enumerate(messages)])
    assert classify.read_messages(text) == classify.read_messages(table) == messages
    shown, content = classify.classified(shelf, messages)
    rows = list(csv.DictReader(io.StringIO(content)))
    assert [row["Text"] for row in rows] == messages
    for row in rows:
        assert f"{row['Label']}, {float(row['Probability']):.1%}" in classify.explained(shelf, row["Text"])[0]
    assert shown.count("<tr>") == 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "a.txt: expected texts, found none"),
        ("a.txt", b"x\n" * 6001, "a.txt: expected 1 to 6,000 messages, found 6,001"),
        ("a.txt", b"fine\nw\xe4re", "a.txt, line 2: expected UTF-8 text, found the byte 0xe4"),
        ("a.txt", b"x" * 2001, "a.txt, message 1: expected at most 2,000 characters, found 2,001"),
        ("a.txt", b"x" * 1_000_001, "a.txt: expected at most 1,000,000 bytes, found more"),
        ("a.csv", b"Message\nhello\n", "a.csv: expected a column 'text', found the columns ['Message']"),
        ("a.csv", b"", "a.csv: expected texts, found none"),
        ("a.csv", b'Text\n"open', "a.csv, line 2: not a table of texts: unexpected end of data"),
    ],
)
def test_a_file_that_is_none_of_messages_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        classify.read_messages(path)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_the_answers_are_the_evaluations(shelf: Shelf, style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = shelf.instruction_model()
    monkeypatch.setattr(
        shelf, "instruction_model", lambda: replace(model, facts={"base": "tiny", "prompt_style": style})
    )
    *_, (answer, base) = instruct.answer_pairs(shelf, "Do it", "now", 15)
    entry = {"instruction": "Do it", "input": "now", "output": ""}
    for loaded, text in ((model, answer), (shelf.language_model("gpt2/tiny"), base)):
        assert [text] == answers(loaded.model, loaded.tokenizer, [entry], 15, 1, style=style)
    assert answer != base


def test_without_its_base_the_instruction_model_still_answers(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "instruct", tmp_path / "instruct")
    *_, (answer, base) = instruct.answer_pairs(Shelf(tmp_path), "Do it", "", 5)
    assert answer
    assert base == f"{tmp_path}: expected the base model tiny beside instruct, found none"


def test_looking_inside_names_layers_and_heads_there_are(shelf: Shelf) -> None:
    by_id, by_surprise, attention, looks = inspect.views(shelf, "The keeper kept", "pretrain", 2, 4)
    ids = shelf.language_model("pretrain").tokenizer.encode("The keeper kept")
    assert re.findall(r"<small>(\d+)</small>", by_id) == [str(token) for token in ids]
    assert by_surprise.count("<small>") == len(ids)
    assert "layer 2 of 2, head 4 of 4" in attention
    assert looks.count("<tr>") == len(ids) + 1
    assert attention.count("<rect ") == len(ids) * (len(ids) + 1) // 2
    with pytest.raises(InputError, match="Layer: expected a whole number from 1 to 2, found 3"):
        inspect.views(shelf, "The keeper", "pretrain", 3, 1)


def test_one_token_and_many_can_be_looked_into(shelf: Shelf) -> None:
    assert "<small>–</small>" in inspect.views(shelf, "a", "pretrain", 1, 1)[1]
    by_id, *_ = inspect.views(shelf, "key " * 400, "pretrain", 1, 1)
    assert by_id.count("<li ") == limits.TOKENS_INSIDE
    assert f"the first {limits.TOKENS_INSIDE} of" in by_id


def test_a_model_that_was_trained_anew_is_read_anew(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path / "models")
    shelf = Shelf(tmp_path / "models")
    texts = ["".join(classify.classified(shelf, ["You won"])[1])]
    assert shelf.classifier() is shelf.classifier()
    for new, old in (("classifier", "classifier"), ("pretrain", "instruct")):
        before = shelf.classifier() if new == old else shelf.language_model("pretrain")
        with new_folder(shelf.folder / new) as folder:
            shutil.copytree(models / old, folder, dirs_exist_ok=True)
        after = shelf.classifier() if new == old else shelf.language_model("pretrain")
        assert after is not before
    assert ["".join(classify.classified(shelf, ["You won"])[1])] == texts
    assert torch.equal(after.model.tok_emb.weight, shelf.instruction_model().model.tok_emb.weight)


def test_a_model_that_dvc_is_writing_is_said_to_be(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path / "models")
    shelf = Shelf(tmp_path / "models")
    shutil.rmtree(tmp_path / "models/pretrain")
    lock = tmp_path / ".dvc/tmp/rwlock"
    lock.parent.mkdir(parents=True)
    for pid, message in ((os.getpid(), "the model is being written by dvc"), (2**22 + 1, "expected")):
        lock.write_text(json.dumps({"write": {str(tmp_path / "models/pretrain"): {"pid": pid, "cmd": "dvc repro"}}}))
        with pytest.raises(InputError, match=message):
            shelf.language_model("pretrain")


def test_a_model_of_one_layer_and_one_head_can_be_looked_into(models: Path, tmp_path: Path) -> None:
    shape = GPTConfig(300, context_length=32, emb_dim=16, n_heads=1, n_layers=1)
    (tmp_path / "pretrain").mkdir()
    save_model(GPTModel(shape), tmp_path / "pretrain", models / "pretrain", {})
    build(tmp_path)
    assert all(inspect.views(Shelf(tmp_path), "The keeper", "pretrain", 1, 1))


def test_models_have_names_and_one_that_cannot_be_used_says_why(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path / "models")
    shelf = Shelf(tmp_path / "models")
    names = {name: shelf.about(name).name for name in [*shelf.language_models(), "classifier"]}
    assert names == {
        "pretrain": "Pretrained model",
        "gpt2/tiny": "Untrained model",
        "instruct": "Instruction model",
        "classifier": "Classifier",
    }
    shutil.copytree(models / "pretrain", tmp_path / "models/second")
    (tmp_path / "models/instruct/config.json").write_text("{")
    shutil.rmtree(tmp_path / "models/classifier")
    titles = dict(next(c for c in build(shelf.folder).blocks.values() if isinstance(c, gr.Dropdown)).choices)
    assert titles == {
        "Pretrained model (pretrain)": "pretrain",
        "Pretrained model (second)": "second",
        "Untrained model": "gpt2/tiny",
        "instruct": "instruct",
    }
    assert "instruct/config.json" in shelf.about("instruct").text
    assert "expected a trained model, found none" in shelf.about("classifier").text
