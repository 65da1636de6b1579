"""Texts of others: byte-order marks, line ends, encodings; JSON lists and JSON Lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt_from_scratch.data.instructions.entries import read_entries
from gpt_from_scratch.data.instructions.preferences import read_preferences
from gpt_from_scratch.data.instructions.reading import objectives_of
from gpt_from_scratch.data.messages.messages import read_split
from gpt_from_scratch.data.messages.spam import read_messages
from gpt_from_scratch.data.text.corpus import read_text as read_corpus
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.curves import read_curve
from gpt_from_scratch.files.reading import decode, json_texts, lines, parse_list, read_text
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import load_params

ENTRY = {"instruction": "a", "input": "b", "output": "c", "chosen": "d", "rejected": "e"}
READERS = {
    "text": (read_text, "a\r\nb"),
    "corpus": (read_corpus, "a\nb"),
    "JSON": (read_json, '{"a": 1}'),
    "instructions": (read_entries, json.dumps([ENTRY])),
    "preferences": (read_preferences, json.dumps([ENTRY])),
    "instructions, JSON Lines": (read_entries, json.dumps(ENTRY)),
    "split": (read_split, "Label,Text\n0,a\n1,b\n"),
    "messages, clean": (lambda path: read_messages(path, "clean"), "ham\ta\nspam\tb\n"),
    "messages, book": (lambda path: read_messages(path, "book"), "ham\ta\nspam\tb\n"),
    "curve": (read_curve, "step,loss\n1,2.0\n"),
    "parameters": (load_params, "profile: quick\n"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_is_ignored(tmp_path, name):
    read, content = READERS[name]
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    plain.write_bytes(content.encode())
    marked.write_bytes(content.encode("utf-8-sig"))
    assert str(read(plain)) == str(read(marked))


@pytest.mark.parametrize("name", ["corpus", "instructions", "split", "messages, clean", "messages, book", "curve"])
@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_other_line_ends_give_the_same(tmp_path, name, end):
    if name == "split" and end == "\r":
        pytest.skip("split_spam writes it")
    read, content = READERS[name]
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.write_bytes(content.encode())
    other.write_bytes(content.replace("\n", end).encode())
    assert str(read(plain)) == str(read(other))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), max_size=5))
def test_only_line_feeds_and_carriage_returns_end_a_line(texts):
    for end in ("\n", "\r\n", "\r"):
        assert lines("".join(text + end for text in texts)) == texts
    assert lines("\u2028\x85\x0b\x0c\x1c\n\nb") == ["\u2028\x85\x0b\x0c\x1c", "", "b"]


def test_a_text_in_another_encoding_is_refused_with_the_cure_or_read(tmp_path):
    path = tmp_path / "a"
    for encoding, cure in (("latin-1", "iconv -f LATIN1"), ("utf-16", "iconv -f UTF-16")):
        path.write_bytes("Ärger\n".encode(encoding))
        with pytest.raises(InputError, match=f"a, line 1: expected UTF-8 text, found the byte .*: {cure} -t UTF-8"):
            read_text(path)
        assert read_text(path, encoding=encoding) == "Ärger\n"
    with pytest.raises(InputError, match="line 2: expected ASCII text, found the byte 0xc4"):
        decode(b"a\n\xc4", "x", "ascii")
    for unknown in ("klingon", "hex", "a\0b"):
        with pytest.raises(InputError, match="x: expected an encoding such as latin-1, found"):
            decode(b"a", "x", unknown)


def test_json_lines_are_read_wherever_a_list_is(tmp_path):
    entries = [{**ENTRY, "input": "x\u2028y\x85z"}, ENTRY]
    path = tmp_path / "entries.jsonl"
    path.write_text("\ufeff" + "\r\n\r\n".join(json.dumps(one, ensure_ascii=False) for one in entries), newline="")
    assert read_entries(path) == read_preferences(path) == entries
    assert objectives_of(path) == ["answers", "preferences"]
    for text in ('["d", "d"]', json.dumps(entries), path.read_text(encoding="utf-8-sig")):
        assert json_texts(text, "x", "chosen") == ["d", "d"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": "b"}\n\n{"a": }', "x, line 3, column 7: not valid JSON"),
        ('{"a": "b"}\n{"a": 1, "a": 2}', "x, line 2: expected every key once"),
        ('{"a": "b"}\n{"b": "a"}', "x, entry 2: expected an object with a text as a, found {'b': 'a'}"),
        ('{"a":\n"b"}', "x: expected a JSON list or JSON Lines, found dict"),
        ('{"a": "b"', "x, line 1, column 10: not valid JSON"),
    ],
)
def test_wrong_json_lines_are_named(text, complaint):
    with pytest.raises(InputError) as caught:
        json_texts(text, "x", "a")
    assert str(caught.value).startswith(complaint)
    assert parse_list("[]", "x") == []
