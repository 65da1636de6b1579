"""What other people's editors do to a file: byte-order marks, line ends, encodings, JSON Lines."""

from __future__ import annotations

import json

import pytest

from gpt_from_scratch.data.instructions.reading import read_instructions
from gpt_from_scratch.data.messages.labelled import read_table
from gpt_from_scratch.data.messages.spam import read_messages
from gpt_from_scratch.data.text.corpus import read_text as read_corpus
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.reading import lines_of, read_records, read_text
from gpt_from_scratch.files.writing import read_json

BOM = b"\xef\xbb\xbf"
ENTRIES = [{"instruction": f"Say {n}\u2028\x85 again", "input": "", "output": f"{n}\x1c"} for n in range(3)]
READERS = {
    "text": (lambda path: read_text(path), b"text", "text"),
    "corpus": (lambda path: read_corpus(path), b"text", "text"),
    "json": (lambda path: read_json(path), b'{"a": 1}', {"a": 1}),
    "instructions": (lambda path: read_instructions(path, "answers"), json.dumps(ENTRIES).encode(), ENTRIES),
    "messages": (lambda path: read_messages(path, "clean").iloc[0].tolist(), b"ham\ta\nspam\tb\n", ["ham", "a"]),
    "book's messages": (lambda path: read_messages(path, "book").iloc[0].tolist(), b"ham\ta\nspam\tb\n", ["ham", "a"]),
    "table": (lambda path: read_table(path, "t", "l")["Text"].tolist(), b"t,l\nx,a\ny,b\n", ["x", "y"]),
}


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_is_no_text(tmp_path, name):
    read, content, expected = READERS[name]
    for mark in (b"", BOM):
        (tmp_path / "file").write_bytes(mark + content)
        assert read(tmp_path / "file") == expected


@pytest.mark.parametrize("name", [name for name in READERS if name != "json"])
def test_another_encoding_gets_the_cure(tmp_path, name):
    read, content, _ = READERS[name]
    latin = content.rstrip() + "\nham\tnaïve".encode("latin-1")
    for wrong, cure in ((latin, "LATIN1"), ("text".encode("utf-16"), "UTF-16")):
        (tmp_path / "file").write_bytes(wrong)
        with pytest.raises(InputError, match=f"expected UTF-8 text, found the byte 0x.. at .*; .*iconv -f {cure} "):
            read(tmp_path / "file")


def test_lines_end_where_editors_end_them_and_nowhere_else():
    assert lines_of("a\u2028b\x85c\x0bd\x1ce\nf\r\ng\rh") == ["a\u2028b\x85c\x0bd\x1ce", "f", "g", "h"]
    assert lines_of("a\n\nb\n") == ["a", "", "b"]
    assert lines_of("") == lines_of("") == []


@pytest.mark.parametrize("name", ["x.jsonl", "x.JSONL", "x.json"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_json_lines_are_read_wherever_a_list_is(tmp_path, name, end):
    path = tmp_path / name
    path.write_bytes(BOM + end.join(json.dumps(entry, ensure_ascii=False) for entry in ENTRIES).encode())
    assert read_instructions(path, "answers") == ENTRIES == read_records(path)
    path.write_text(json.dumps(ENTRIES[0]) + '\n{"instruction": }\n')
    with pytest.raises(InputError, match=r", line 2, column 17: not valid JSON"):
        read_records(path)
