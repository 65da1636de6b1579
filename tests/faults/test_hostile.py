"""Data files made to do harm: each is refused in one short line, soon, in little memory, and nothing in it runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from refusal import refused

from gpt_from_scratch.data.instructions.entries import read_entries
from gpt_from_scratch.data.messages.messages import read_split
from gpt_from_scratch.data.messages.spam import read_messages
from gpt_from_scratch.data.text.corpus import read_text
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.tokenizer.bpe import bpe_from_files, load_tokenizer
from gpt_from_scratch.weights.pth import load_pth

# JSON

HALF = r"found half of a pair: '\\ud800'"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "expected numbers of at most 4300 digits"),
        ('{"a": NaN}', "expected finite numbers, found 'NaN'"),
        ("[-Infinity]", "expected finite numbers, found '-Infinity'"),
        ("[1e999]", "expected finite numbers, found '1e999'"),
        ('{"a": 1, "b": 2, "a": 3}', "expected every key once in its object, found 'a' again"),
        (
            '[{"instruction": "a", "input": "", "output": "x\\ud800"}]',
            f"entry 1, output: expected Unicode text, {HALF}",
        ),
        ('[1, {"a": ["b", "\\uD800\\u0041"]}]', f"entry 2, a, entry 2: expected Unicode text, {HALF}"),
        ('{"\\ud800": 1}', f"a key: expected Unicode text, {HALF}"),
        (b'["\xff"]', "line 1: expected UTF-8 text, found the byte 0xff"),
        ('["a"]'.encode("utf-16"), "line 1: expected UTF-8 text, found the byte 0xff; it is UTF-16, this converts it"),
        ('["a\0b"]', "line 1, column 4: not valid JSON: Invalid control character"),
        ("", "line 1, column 1: not valid JSON"),
        ('{"a": 1', "line 1, column 8: not valid JSON"),
        ("[1] [2]", "line 1, column 5: not valid JSON: Extra data"),
        ("__import__('os').system('true')", "not valid JSON"),
    ],
)
@pytest.mark.parametrize("read", [read_json, read_entries])
def test_json(tmp_path, read, content, complaint) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    with refused(path, complaint):
        read(path)


def test_whole_pairs_of_surrogates_and_escaped_backslashes_are_text(tmp_path) -> None:
    (tmp_path / "data.json").write_text(r'["\ud83d\ude00", "\\ud800"]')
    assert read_json(tmp_path / "data.json") == ["😀", r"\ud800"]


def test_json_of_any_size(tmp_path) -> None:
    path = tmp_path / "data.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # a terabyte on paper
    with refused(path, "expected at most 67,108,864 bytes, found more"):
        read_json(path)


@pytest.mark.parametrize(
    "value", [None, 1, True, [], {}, ["a"], "x" * 10**6, {"a": "x" * 10**6}, [[[[[["a"]]]]]], 10**400]
)
def test_entries_of_another_kind(tmp_path, value) -> None:
    path = tmp_path / "data.json"
    good = {"instruction": "a", "input": "b", "output": "c"}
    if not isinstance(value, str):
        path.write_text(json.dumps([good, {**good, "output": value}]))
        with refused(path, r"data\.json, entry 2, output: expected a text, found "):
            read_entries(path)
    path.write_text(json.dumps([good, value]))
    with refused(path, r"data\.json, entry 2: (expected an object, found|key 'instruction' is missing)"):
        read_entries(path)


# Messages


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"spam", "found 0 tabs"),
        (b"spam two", "found 0 tabs"),
        (b"spam\ta\tb", "found 2 tabs"),
        (b"\t" * 10**6, "found 1000000 tabs"),
        (b"spam\t", "expected a message, found none"),
        (b"spam\t \xc2\xa0\xe3\x80\x80", "expected a message, found none"),
        (b"\tspam", "expected the label ham or spam, found ''"),
        (b"Spam\ta", "expected the label ham or spam, found 'Spam'"),
        (b" spam\ta", "expected the label ham or spam, found ' spam'"),
        (b'"spam"\ta', "expected the label ham or spam, found '\"spam\"'"),
        (b"x" * 10**7 + b"\ta", r"expected the label ham or spam, found 'x+\.\.\.x+'"),
        (b"spam\ta\rb", "expected a message of one line, found a carriage return in it"),
        (b"spam\ta\r\r", "expected a message of one line, found a carriage return in it"),
        (b"spam\ta\0b", "expected a message in characters, found a NUL in it"),
        (b"spam\t\xff", "expected UTF-8 text, found the byte 0xff"),
        (b"spam\t\xed\xa0\x80", "expected UTF-8 text, found the byte 0xed"),
        (b"spam\t\xc0\x80", "expected UTF-8 text, found the byte 0xc0"),
    ],
)
@pytest.mark.parametrize("recipe", ["book", "clean"])
def test_messages(tmp_path, recipe, line, complaint) -> None:
    path = tmp_path / "messages"
    path.write_bytes(b"ham\tfirst\n" + line + b"\nham\tlast\n")
    with refused(path, f"messages, line 2: .*{complaint}"):
        read_messages(path, recipe)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'ham\t"open\nspam\tb\n', "expected quotes in pairs"),
        (b'ham\t""\nspam\tb\n', "expected messages, found an empty one in quotes"),
        (b"\n", "line 1: .* found 0 tabs"),
        (b"", "expected messages, found an empty file"),
        (b"PK\x03\x04" + bytes(1000), "line 1: .* found 0 tabs"),
    ],
)
def test_files_of_messages(tmp_path, content, complaint) -> None:
    path = tmp_path / "messages"
    path.write_bytes(content)
    with refused(path, complaint):
        read_messages(path, "book")


@pytest.mark.parametrize("recipe", ["book", "clean"])
@pytest.mark.parametrize(
    "text", ["x" * 10**7, "12", "1e999", "NA", "nan", "=cmd|' /C calc'!A0", "\x1b[2J\x85\u2028\x0b"]
)
def test_strange_messages_stay_what_they_are(tmp_path, recipe, text) -> None:
    path = tmp_path / "messages"
    path.write_text(f"ham\t{text}\nspam\t{text}\n", encoding="utf-8", newline="")
    frame = read_messages(path, recipe)
    assert frame["Text"].tolist() == [text, text]
    frame.assign(Label=[0, 1]).to_csv(tmp_path / "set.csv", index=False, lineterminator="\n")
    assert read_split(tmp_path / "set.csv")["Text"].tolist() == [text, text]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"Label,Text\n0,a,b\n1,c,d\n", "expected two cells a row"),
        (b"Label,Text\n0,a\n0\n", "row 2, column Text: expected a message, found none"),
        (b"Label,Text\n0,a\n1,b,c\n", "not a CSV file of messages"),
        (b"Label,Text\n0.0,a\n", "column Label: expected 0 or 1"),
        (b"Label,Text\nTrue,a\n", "column Label: expected 0 or 1"),
        (b"Label,Text\n" + b"9" * 5000 + b",a\n", "column Label: expected 0 or 1"),
        (b'Label,Text\n0,"a\n', "not a CSV file of messages"),
        (b"Label,Text\n0,\xff\n", "line 2: expected UTF-8 text, found the byte 0xff"),
        (b"Label,Text,Text\n0,a,b\n", "expected the columns Label,Text, found 'Label,Text,Text'"),
        (b"x," * 50_000, r"expected the columns Label,Text, found 'x,.*\.\.\."),
        (b"\0" * 1000, "expected the columns Label,Text, found"),
        (b"Label,Text\n\xff", "line 2: expected UTF-8 text"),
    ],
)
def test_sets_of_messages(tmp_path, content, complaint) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with refused(path, complaint):
        read_split(path)


# Tokenizers


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("encoder.json", '{"a": ' + "9" * 5000 + "}", "at most 4300 digits"),
        ("encoder.json", '{"a": 0, "a": 1}', "expected every key once"),
        ("encoder.json", '{"a": -1}', "expected the ids 0 to 0, each once"),
        ("encoder.json", '{"a": 0.0}', "expected a JSON object that gives each token its id"),
        ("encoder.json", '{"../../x": 0}', r"expected an id for <\|endoftext\|>, found none"),
        ("encoder.json", '{"\\ud800": 0}', "a key: expected Unicode text"),
        ("vocab.bpe", "#version: 0.2\n" + "a" * 10**6 + "\n", r"line 2: expected two tokens .* found 'a+\.\.\.a+'"),
        ("vocab.bpe", "#version: 0.2\n\ud800", "line 2: expected UTF-8 text, found the byte 0xed"),
        ("vocab.bpe", "#version: 0.2\nĠ \0\n", r"line 2: expected two tokens .* found 'Ġ \\x00'"),
    ],
)
def test_tokenizers(tmp_path, root, file, content, complaint) -> None:
    for name in ("encoder.json", "vocab.bpe"):
        (tmp_path / name).write_bytes((root / "data/sample/bpe" / name).read_bytes())
    (tmp_path / file).write_bytes(content.encode("utf-8", "surrogatepass"))
    with refused(tmp_path / file, complaint):
        load_tokenizer(tmp_path)


# What is no file

READERS: dict[str, Callable[[Path], object]] = {
    "parameters": load_params,
    "JSON": read_json,
    "instructions": read_entries,
    "messages": lambda path: read_messages(path, "clean"),
    "book's messages": lambda path: read_messages(path, "book"),
    "a set": read_split,
    "a text": read_text,
    "merges": lambda path: bpe_from_files(path.with_name("encoder.json"), path),
    "pth": lambda path: load_pth(path, GPTConfig(8, 8, 8, 2, 1)),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing", "loop", "unreadable"])
def test_what_is_no_file_neither_hangs_nor_fills_the_memory(tmp_path, root, reader, kind) -> None:
    path = tmp_path / "vocab.bpe"
    (tmp_path / "encoder.json").write_bytes((root / "data/sample/bpe/encoder.json").read_bytes())
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "unreadable":
        path.write_text("x")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
    with refused(path, r"file not found|expected a file, found a folder, pipe or device|could not be read"):
        READERS[reader](path)
