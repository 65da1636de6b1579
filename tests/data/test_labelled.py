"""Labelled texts of one's own: reading them, and splitting them with any number of classes."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from gpt_from_scratch.data.messages.labelled import (
    as_words,
    class_names,
    read_class_names,
    read_splits,
    read_table,
    write_class_names,
)
from gpt_from_scratch.data.messages.messages import balanced_weights, read_split
from gpt_from_scratch.data.messages.spam import fold, split_messages, split_statistics
from gpt_from_scratch.errors import InputError

CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=8).filter(str.strip)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=10), st.sampled_from(["csv", "tsv"]))
@settings(deadline=None, max_examples=20)
def test_what_pythons_csv_module_writes_is_read_as_it_was(tmp_path_factory, rows, kind):
    path = tmp_path_factory.mktemp("table") / f"texts.{kind}"
    rows = [*rows, ("one", "first"), ("two", "other")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if kind == "tsv" else ",", quoting=csv.QUOTE_ALL)
        writer.writerows([("number", "topic", "review"), *((n, label, text) for n, (text, label) in enumerate(rows))])
    frame = read_table(path, "review", "topic")
    assert frame[["Text", "Label"]].to_numpy().tolist() == [list(row) for row in rows]
    assert class_names(frame) == tuple(sorted({label for _, label in rows}))


def test_nothing_is_taken_for_a_missing_value_or_a_number(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_bytes(b'\xef\xbb\xbftext,label\r\nNA,007\r\n"a ""b""\r\nc",nan\r\n\r\n1e3,1.0\r\n')
    assert read_table(path, "text", "label").to_numpy().tolist() == [["007", "NA"], ["nan", 'a "b"\nc'], ["1.0", "1e3"]]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"review,label\na,x\nb,y\n", r"expected a column 'text', found the columns \['review', 'label'\]"),
        (b"text,label,text\na,x,c\nb,y,d\n", "expected a column 'text', found it 2 times"),
        (b"text,label\na,x\nb,x\n", r"expected at least two labels, found \('x',\)"),
        (b"text,label\n", r"expected at least two labels, found \(\)"),
        (b"text,label\na,x\n ,y\n", "row 2, column 'text': expected a text, found none"),
        (b"text,label\na,x\nb\n", "row 2: expected 2 cells, as in the first line, found 1"),
        (b"text,label\na,x\nb,\n", "row 2, column 'label': expected a label, found none"),
        (b"text,label\na\0,x\nb,y\n", "row 1, column 'text': expected a text, found a NUL in it"),
        (b"text,label\na,x\n\xff,y\n", "line 3: expected UTF-8 text, found the byte 0xff"),
        (
            b'text,label\na,x\n"b,y\n',
            "line 3: not a table of texts: unexpected end of data; .* in quotes",
        ),
        (b'text,label\na,x\n"b"c,y\n', "line 3: not a table of texts: ',' expected after '\"'"),
        (
            b"label,text\nham,ok\nham,Hello, are you there?\n",
            "row 2: expected 2 cells, .* found 3; a cell with",
        ),
        (b"", "expected a table of texts, found an empty file"),
        (b"\xef\xbb\xbf\n", "expected a table of texts, found an empty file"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(tmp_path, content, complaint):
    path = tmp_path / "texts.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=complaint) as caught:
        read_splits(path, "text", "label")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def texts(**counts: int) -> pd.DataFrame:
    rows = [(label, f"{label} {'x' * number}") for label, count in counts.items() for number in range(count)]
    return pd.DataFrame(rows, columns=["Label", "Text"])


@pytest.mark.parametrize("recipe", ["book", "clean"])
def test_every_class_is_sampled_down_to_the_smallest(recipe):
    frame, labels = texts(cat=60, ant=31, bee=200), ("ant", "bee", "cat")
    split = split_messages(frame, recipe, 0.7, 0.1, True, 1, labels)
    parts = [split.train, split.validation, split.test]
    counts = [part["Label"].value_counts().to_dict() for part in parts]
    if recipe == "clean":
        # A class of 31 gives int(21.7), int(3.1) and the rest.
        assert counts == [dict.fromkeys(range(3), number) for number in (21, 3, 7)]
        assert split.test_natural["Label"].value_counts().to_dict() == {0: 7, 1: 40, 2: 12}
    else:
        assert [len(part) for part in parts] == [int(93 * 0.7), int(93 * 0.1), 93 - 65 - 9]
        assert {label: sum(count[label] for count in counts) for label in range(3)} == {0: 31, 1: 31, 2: 31}
    for part in parts:
        assert all(text.startswith(labels[label]) for label, text in zip(part["Label"], part["Text"], strict=True))


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.text("aB1 !é", min_size=1, max_size=6)), max_size=60),
    st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_no_folded_text_of_five_classes_stands_on_two_sides(rows, seed):
    frame = pd.concat([texts(**dict.fromkeys("abcde", 15)), pd.DataFrame(rows, columns=["Label", "Text"])])
    split = split_messages(frame, "clean", 0.5, 0.2, False, seed, "abcde")
    sides = [set(part["Text"].map(fold)) for part in (split.train, split.validation, split.test)]
    assert sum(len(part) for part in (split.train, split.validation, split.test)) == len(frame)
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    facts = split_statistics(frame, split, "abcde")
    assert {label: counts.pop("source") for label, counts in facts["labels"].items()} == dict(Counter(frame["Label"]))
    for name, part in split.parts().items():
        numbers = part["Label"].value_counts().to_dict()
        assert [facts["labels"][label][name] for label in "abcde"] == [numbers[number] for number in range(5)]


@pytest.mark.parametrize("recipe", ["book", "clean"])
def test_a_class_too_small_for_every_set_is_named(recipe):
    with pytest.raises(InputError, match=r"the \w+ set has no rare: .* a source of 82, 2 of them rare$"):
        split_messages(texts(a=40, b=40, rare=2), recipe, 0.7, 0.1, False, 1, ("a", "b", "rare"))


def test_class_names_travel_with_the_sets(tmp_path):
    write_class_names(tmp_path, ("ham", "spam"))
    assert list(tmp_path.iterdir()) == []
    assert read_class_names(tmp_path) == ("ham", "spam")
    write_class_names(tmp_path, ("1", "2", "no: 3"))
    assert read_class_names(tmp_path) == ("1", "2", "no: 3")


@pytest.mark.parametrize("content", ['{"a": 0}', '["a"]', '["a", 1]', '["a", "a"]', '["a", "b", "a"]'])
def test_class_names_that_are_none(tmp_path, content):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(InputError, match=r"labels\.json: expected "):
        read_class_names(tmp_path)


def test_a_set_of_more_classes(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("Label,Text\n2,a\n0,b\n")
    assert read_split(path, 3)["Label"].tolist() == [2, 0]
    with pytest.raises(InputError, match="row 1, column Label: expected 0 or 1, found '2'"):
        read_split(path)
    path.write_text("Label,Text\n0,a\n3,b\n")
    with pytest.raises(InputError, match="row 2, column Label: expected a number from 0 to 2, found '3'"):
        read_split(path, 3)


def test_labels_become_different_words_for_plots():
    assert as_words(["ham", "C++", "a b", "a/b", "a_b", "</script>"]) == [
        "ham",
        "C++",
        "a_b",
        "a_b_",
        "a_b__",
        "__script_",
    ]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_balanced_weights_are_scikit_learns(labels):
    labels = [*labels, 0, 1, 2, 3]
    expected = compute_class_weight("balanced", classes=np.arange(4), y=np.array(labels))
    np.testing.assert_allclose(balanced_weights(labels, 4).numpy(), expected, rtol=1e-6)


def test_a_class_without_training_texts_has_no_weight():
    with pytest.raises(InputError, match="expected training messages of every class, found none of number 1"):
        balanced_weights([0, 0, 2], 3)
