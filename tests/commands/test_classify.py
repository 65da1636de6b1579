"""`gpt classify`: a text or a file, equal to what transformers' body and the head give one by one."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
import torch
from llms_from_scratch.ch04 import GPTModel as ReferenceModel
from safetensors.torch import load_file
from transformers import GPT2Model

from gpt_from_scratch.model.int8 import has_vnni
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.classifier import load_classifier

TEXTS = [
    "hello mum",
    "win cash now, call 0900 123",
    "hello mum",
    'she said "no, thanks", and left',
    "long " * 60,
    "naïve café 🎉",
    "ok",
]


def without_masks(folder) -> ReferenceModel:
    """The book's model, whose tokens see each other, up to the head."""
    ours = load_classifier(folder)[0]
    theirs = ReferenceModel({**vars(ours.config), "drop_rate": 0.0}).eval()
    theirs.out_head = torch.nn.Identity()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    for block in theirs.trf_blocks:
        block.att.mask.zero_()
    return theirs


@torch.no_grad()
def one_by_one(folder, texts) -> list[list[float]]:
    """Probabilities by transformers, or the book's model without masks; each text alone, padded where that is done."""
    about = json.loads((folder / "classifier.json").read_text())
    body, head = GPT2Model.from_pretrained(folder).eval(), load_file(folder / "model.safetensors")
    tokenizer, rows = load_tokenizer(folder), []
    for text in texts:
        ids = tokenizer.encode(text)[: about["max_length"]]
        deciding = about["deciding_token"]
        if deciding != "last_real":
            ids += [about["pad_id"]] * (about["max_length"] - len(ids))
        if about["causal"]:
            states = body(torch.tensor([ids])).last_hidden_state[0]
        else:
            states = without_masks(folder)(torch.tensor([ids]))[0]
        state = {"first": states[0], "mean": states.mean(0)}.get(deciding, states[-1])
        rows.append(torch.softmax(head["score.weight"] @ state + head["score.bias"], -1).tolist())
    return rows


@pytest.mark.parametrize("name", ["classifier", "spotter", "opener", "averager", "seer"])
def test_a_file_equals_its_texts_one_by_one(gpt, project, tmp_path, name) -> None:
    (tmp_path / "texts").write_text("\n".join(TEXTS) + "\n")
    result = gpt("classify", "--file", tmp_path / "texts", "--model", name, "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    wanted = one_by_one(project / "models" / name, TEXTS)
    assert max(abs(row["probabilities"]["spam"] - spam) for row, (_, spam) in zip(rows, wanted, strict=True)) < 1e-5
    labels = ["ham" if ham > spam else "spam" for ham, spam in wanted]
    assert [row["label"] for row in rows] == labels
    chances = [spam for _, spam in wanted]
    assert max(chances) - min(chances) > 0.01, "the random model tells them apart"
    assert all(row["probability"] == max(row["probabilities"].values()) for row in rows)
    assert "7/7" in result.stderr


def test_one_text(gpt, project) -> None:
    label, probability = gpt("classify", "win cash now").stdout.split()
    ((ham, spam),) = one_by_one(project / "models/classifier", ["win cash now"])
    assert label == ("ham" if ham > spam else "spam")
    assert float(probability) == pytest.approx(max(ham, spam), abs=1e-4)


def test_a_column_of_a_csv_to_a_csv(gpt, tmp_path) -> None:
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["id", "Text"], [1, "win, cash"], [2, 'two\nlines "quoted"']])
    out = tmp_path / "out.csv"
    assert gpt("classify", "--file", tmp_path / "in.csv", "--column", "Text", "--out", out).stdout == ""
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["text"] for row in rows] == ["win, cash", 'two\nlines "quoted"']
    assert {row["label"] for row in rows} <= {"ham", "spam"}
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)


def test_what_it_writes_it_reads(gpt, tmp_path) -> None:
    (tmp_path / "in.txt").write_text("\ufeffa\u2028b\r\nc\x85d\r\n", encoding="utf-8", newline="")
    first = gpt("classify", "--file", tmp_path / "in.txt").stdout
    for form in ("csv", "jsonl"):
        out = tmp_path / f"out.{form}"
        assert gpt("classify", "--file", tmp_path / "in.txt", "--format", form, "--out", out).exit_code == 0
        assert gpt("classify", "--file", out).stdout == first
    (tmp_path / "l.TSV").write_text("ham\tgrün\n", encoding="latin-1")
    options = ("--column", 2, "--no-header", "--encoding", "latin-1")
    assert gpt("classify", "--file", tmp_path / "l.TSV", *options).stdout.startswith("text,label,probability\ngrün,")


def test_standard_input(gpt) -> None:
    result = gpt("classify", "--file", "-", input="hello\nwin\n")
    assert [row["text"] for row in csv.DictReader(io.StringIO(result.stdout))] == ["hello", "win"]


def test_bf16_is_near(gpt, project) -> None:
    _, probability = gpt("classify", "win cash now", "--precision", "bf16").stdout.split()
    (chances,) = one_by_one(project / "models/classifier", ["win cash now"])
    assert float(probability) == pytest.approx(max(chances), abs=0.05)


@pytest.mark.skipif(not has_vnni(), reason="this processor lacks AVX-512 VNNI")
@pytest.mark.parametrize("name", ["classifier", "spotter", "seer"])
def test_int8_is_near(gpt, project, tmp_path, name) -> None:
    (tmp_path / "texts").write_text("\n".join(TEXTS) + "\n")
    arguments = ("--file", tmp_path / "texts", "--model", name, "--precision", "int8", "--format", "jsonl")
    found = [json.loads(line)["probabilities"]["spam"] for line in gpt("classify", *arguments).stdout.splitlines()]
    wanted = [spam for _, spam in one_by_one(project / "models" / name, TEXTS)]
    assert found == pytest.approx(wanted, abs=0.05)
    assert found != pytest.approx(wanted, abs=1e-6)


def test_int8_names_its_option_where_the_processor_cannot(gpt, monkeypatch) -> None:
    monkeypatch.setattr("gpt_from_scratch.model.int8.has_vnni", lambda: False)
    result = gpt("classify", "win", "--precision", "int8")
    assert result.stderr == "error: --precision int8: expected a processor with AVX-512 VNNI, found one without\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        ([], None, "expected a text, or --file"),
        (["x", "--file", "y"], None, "and not both"),
        (["x", "--column", "y"], None, "expected --file with them"),
        (["x", "--encoding", "latin-1"], None, "expected --file with them"),
        (["--file", "-", "--no-header"], "a\n", "--no-header: expected --column with the number of a column"),
        (["x", "--model", "pretrain"], None, "expected a classifier, .*try gpt generate"),
        (["--file", "-"], "", "-: expected texts, found none"),
        (["--file", "-"], "a\n \nb\n", "text 2: expected a text, found an empty one"),
        (
            ["--file", "-"],
            b"a\xff\n",
            "standard input, line 1: expected UTF-8 text, found the byte 0xff; .*iconv",
        ),
        (["--file", "-", "--column", "T"], "a,b\n1,2\n", r"-: expected a column 'T', found the columns \['a', 'b'\]"),
        (["--file", "-", "--column", "a"], 'a,b\n"1,2\n', "-, line 2: not a table of texts"),
        ([""], None, "text 1: expected a text to classify"),
    ],
)
def test_what_is_wrong_is_one_line(gpt, arguments, stdin, message) -> None:
    result = gpt("classify", *arguments, input=stdin)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.search(message, result.stderr.splitlines()[-1])
    assert "Traceback" not in result.stderr


def test_one_text_in_a_format_that_is_asked_for(gpt) -> None:
    row = json.loads(gpt("classify", "You won", "--format", "jsonl").stdout)
    assert gpt("classify", "You won").stdout == f"{row['label']}  {row['probability']:.4f}\n"
    assert gpt("classify", "You won", "--format", "csv").stdout.splitlines()[0] == "text,label,probability"


@pytest.mark.parametrize("suffix", ["csv", "CSV", "tsv"])
def test_a_table_without_a_header_and_of_another_encoding(gpt, tmp_path, suffix) -> None:
    path, separator = tmp_path / f"texts.{suffix}", "\t" if suffix == "tsv" else ","
    path.write_bytes(f"ham{separator}naïve\nspam{separator}You won\n".encode("latin-1"))
    options = ("--file", path, "--column", "2", "--no-header", "--format", "jsonl")
    rows = [json.loads(line) for line in gpt("classify", *options, "--encoding", "latin-1").stdout.splitlines()]
    assert [row["text"] for row in rows] == ["naïve", "You won"]
    for wrong, said in (((), "iconv -f LATIN1"), (("--encoding", "klingon"), "expected an encoding such as latin-1")):
        answer = gpt("classify", *options, *wrong)
        assert answer.exit_code == 1
        assert said in answer.stderr


def test_options_that_have_no_effect_are_refused(gpt, tmp_path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    for arguments in (
        ("x", "--encoding", "latin-1"),
        ("x", "--no-header"),
        ("--file", tmp_path / "a.txt", "--no-header"),
    ):
        answer = gpt("classify", *arguments)
        assert answer.exit_code == 1
        assert "expected --" in answer.stderr
