"""Texts of one's own, read alike by training, command and page; without a header; in splits of their publisher."""

from __future__ import annotations

import pytest

from gpt_from_scratch.app.classify import read_messages as read_on_the_page
from gpt_from_scratch.commands.classify import labelled
from gpt_from_scratch.commands.models import read_input
from gpt_from_scratch.data.messages.labelled import read_splits, read_table
from gpt_from_scratch.data.messages.split import split_spam
from gpt_from_scratch.data.messages.tables import parse_texts
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.generation.classifying import Classified
from gpt_from_scratch.params.sections import SplitSpam
from gpt_from_scratch.params.trainings import LabelledData


def by_training(path):
    return read_table(path, "text", "label")["Text"].tolist()


def by_command(path):
    return parse_texts(read_input(str(path)), str(path))


READERS = {"training": by_training, "command": by_command, "page": read_on_the_page}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.tsv", "a.TSV"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_read_the_same(tmp_path, reader, name, end):
    sep = "\t" if name.lower().endswith("tsv") else ","
    rows = [
        ("Label ", " Text"),
        ("ham", "NA"),
        ("spam", f'"a{sep} ""b""{end}c\u2028d\x85e"'),
        ("", "")[:0],
        ("ham", '5" wide'),
    ]
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + end.join(map(sep.join, rows)).encode() + 2 * end.encode())
    assert READERS[reader](path) == ["NA", f'a{sep} "b"\nc\u2028d\x85e', '5" wide']


@pytest.mark.parametrize("reader", READERS)
def test_the_largest_cell(tmp_path, reader):
    size = 2000 if reader == "page" else 300_000
    (tmp_path / "a.csv").write_text(f"text,label\n{'x' * size},a\nb,b\n")
    assert [len(text) for text in READERS[reader](tmp_path / "a.csv")] == [size, 1]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            b"label,text\nham,Hello, are you there?\n",
            "row 1: expected 2 cells, as in the first line, found 3; a cell with",
        ),
        (b"label,text\nham,ok\nham\n", "row 2: expected 2 cells, as in the first line, found 1"),
        (b'label,text\nham,"open\nspam,b\n', "not a table of texts: unexpected end of data"),
        (b'label,text\nham,"a" b\n', "line 2: not a table of texts: ',' expected after"),
        (b"label,text\nham,ok\nham, \n", "row 2, column 'text': expected a text, found none"),
        (b"label,text\nham,a\0b\n", "row 1, column 'text': expected a text, found a NUL in it"),
        (b"label,text,TEXT \nham,a,b\n", None),
        (b"label,Text,TEXT\nham,a,b\n", "expected a column 'text', found it 2 times"),
        (b"ham,hello\n", r"expected a column '\w+', found the columns \['ham', 'hello'\]; without a header line"),
        ("label,text\nham,grün\n".encode("latin-1"), "line 2: expected UTF-8 text, .*iconv -f LATIN1 -t UTF-8"),
        ("label,text\nham,grün\n".encode("utf-16"), "line 1: expected UTF-8 text, .*iconv -f UTF-16 -t UTF-8"),
    ],
)
def test_all_refuse_the_same(tmp_path, reader, content, complaint):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    if complaint is None:
        assert READERS[reader](path) == ["a"]
        return
    with pytest.raises(InputError, match=complaint) as caught:
        READERS[reader](path)
    assert "\n" not in str(caught.value)


def test_lines_and_json_of_texts():
    texts = ["a\u2028b", "c\x85d", '{not "JSON}']
    assert parse_texts("\r\n".join(texts) + "\n\n", "a.txt") == texts
    with pytest.raises(InputError, match=r"a\.txt, text 2: expected a text, found an empty one"):
        parse_texts("a\n \nb\n", "a.txt")
    with pytest.raises(InputError, match=r"a\.csv, row 2, column 'text': expected a text, found none"):
        parse_texts("text\na\n\nb\n", "a.csv")
    assert parse_texts('{"Body": "a\\r\\nb"}\n{"Body": "c"}\n', "-", "Body") == ["a\nb", "c"]
    assert parse_texts('["a", {"text": "b"}]', "a.json") == ["a", "b"]
    for nothing in ("", "\n \n", "text\n"):
        with pytest.raises(InputError, match=r"a\.csv: expected texts, found none"):
            parse_texts(nothing, "a.csv")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_the_command_writes_it_reads(form):
    import torch

    texts = ['say "hi",\nplease', "a\u2028b\x85c", "  d"]
    found = Classified(("ham", "spam"), torch.full((3, 2), 0.5).double().numpy(), torch.zeros(3).numpy(), 8)
    assert parse_texts(labelled(texts, found, form), f"a.{form}") == texts


def test_without_a_header_columns_are_numbers(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("ham\thello\nspam\twin\n")
    assert read_table(path, "2", "1", header=False).to_numpy().tolist() == [["ham", "hello"], ["spam", "win"]]
    assert parse_texts(path.read_text(), "a.tsv", "2", header=False) == ["hello", "win"]
    with pytest.raises(InputError, match=r"expected a column '3', found the columns \['1', '2'\]"):
        parse_texts(path.read_text(), "a.tsv", "3", header=False)
    data = {"path": "data/a.TSV", "text": 2, "label": 1, "header": False, "encoding": "latin-1"}
    assert LabelledData(**data).text == "2"
    for key, value in {
        "text": "body",
        "label": "0",
        "encoding": "klingon",
        "path": "data/raw/SMSSpamCollection",
    }.items():
        with pytest.raises(ValueError, match=r"header: false|encoding|no named columns"):
            LabelledData(**{**data, key: value})


def test_labels_that_differ_in_spelling_alone_are_warned_of(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("text,label\na, Ham \nb,ham\nc,spam\n")
    assert set(read_table(tmp_path / "a.csv", "text", "label")["Label"]) == {" Ham ", "ham", "spam"}
    assert "labels that differ in case or spaces alone are different: ' Ham ' and 'ham'" in caplog.text


def rows(start, count):
    return "text,label\n" + "".join(f"text {'x' * n},{'ab'[n % 2]}\n" for n in range(start, start + count))


@pytest.mark.parametrize("recipe", ["book", "clean"])
@pytest.mark.parametrize("with_validation", [False, True])
def test_the_publishers_split_stays_his(tmp_path, caplog, recipe, with_validation):
    folder = tmp_path / "data/own"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text(rows(1, 42))
    (folder / "Test.CSV").write_text(rows(41, 10))
    if with_validation:
        (folder / "validation.csv").write_text(rows(60, 6))
    params = SplitSpam(recipe=recipe, train=0.7, validation=0.1, balance=False, seed=1)
    data = LabelledData(path="data/own", text="text", label="label")
    sources, statistics = split_spam(params, data, tmp_path)
    assert sorted(path.name for path in sources)[:2] == ["Test.CSV", "train.csv"]
    written = {path.stem: parse_texts(path.read_text(), "a.csv") for path in (tmp_path / "data/spam").glob("*.csv")}
    assert sorted(written["test"]) == sorted(parse_texts(rows(41, 10), "a.csv"))
    kept = 40 if recipe == "clean" else 42
    if with_validation:
        assert sorted(written["validation"]) == sorted(parse_texts(rows(60, 6), "a.csv"))
        assert len(written["train"]) == kept
    else:
        assert sorted(written["train"] + written["validation"]) == sorted(parse_texts(rows(1, kept), "a.csv"))
        assert len(written["train"]) == {"clean": 34, "book": 36}[recipe]
    assert (statistics["overlap_with_train"]["test"]["exact"] == 0) or recipe == "book"
    assert ("2 of 42 messages stand in the given sets too: left out" in caplog.text) == (recipe == "clean")
    assert read_json(tmp_path / "metrics/split_spam.json")["splits"]["test"]["messages"] == 10


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"train.csv": rows(1, 9)}, r"expected tables train, test .*, found \['train.csv'\]"),
        ({"train.csv": rows(1, 9), "test.csv": rows(9, 4), "test.tsv": ""}, "expected tables train, test .*each once"),
        ({"train.csv": rows(1, 9), "test.csv": "text,label\na,c\n"}, r"test.csv: expected labels .*found \['c'\]"),
    ],
)
def test_a_folder_that_is_no_split(tmp_path, files, complaint):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_splits(tmp_path, "text", "label")
