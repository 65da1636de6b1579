"""Reading and splitting the messages."""

from __future__ import annotations

import zipfile

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llms_from_scratch.ch06 import create_balanced_dataset, random_split

from gpt_from_scratch.data.messages.spam import fold, read_messages, split_messages, split_statistics
from gpt_from_scratch.errors import InputError


@pytest.fixture(scope="module")
def collection(mirror, tmp_path_factory):
    path = tmp_path_factory.mktemp("sms") / "SMSSpamCollection"
    path.write_bytes(zipfile.ZipFile(mirror / "sms+spam+collection.zip").read("SMSSpamCollection"))
    return path


def messages(*rows):
    return pd.DataFrame(rows, columns=["Label", "Text"])


def many(ham, spam):
    return messages(
        *(("ham", f"hello {'a' * n}") for n in range(ham)), *(("spam", f"win {'b' * n}") for n in range(spam))
    )


def test_book_recipe_is_row_for_row_the_books(collection):
    found = split_messages(read_messages(collection, "book"), "book", 0.7, 0.1, True, 123)
    frame = pd.read_csv(collection, sep="\t", header=None, names=["Label", "Text"])
    frame = create_balanced_dataset(frame)
    frame["Label"] = frame["Label"].map({"ham": 0, "spam": 1})
    for ours, theirs in zip((found.train, found.validation, found.test), random_split(frame, 0.7, 0.1), strict=True):
        assert ours.to_csv(index=False) == theirs.to_csv(index=False)
    assert found.test_natural is None


def test_book_statistics(collection):
    frame = read_messages(collection, "book")
    facts = split_statistics(frame, split_messages(frame, "book", 0.7, 0.1, True, 123))
    assert facts["source"] | {"duplicates_folded": 0} == {
        "messages": 5572,
        "classes": 2,
        "duplicates_exact": 403,
        "duplicates_folded": 0,
    }
    assert {label: counts["source"] for label, counts in facts["labels"].items()} == {"ham": 4825, "spam": 747}
    assert [facts["splits"][name]["messages"] for name in ("train", "validation", "test")] == [1045, 149, 300]
    assert facts["overlap_with_train"]["test"]["exact"] == 37
    assert facts["overlap_with_train"]["test"]["folded"] >= 48


def test_clean_recipe_reads_every_line_and_separates_the_sets(collection):
    frame = read_messages(collection, "clean")
    assert frame["Label"].value_counts().to_dict() == {"ham": 4827, "spam": 747}
    split = split_messages(frame, "clean", 0.7, 0.1, True, 123)
    facts = split_statistics(frame, split)
    for name, part in split.parts().items():
        if name != "train":
            assert facts["overlap_with_train"][name] == {"exact": 0, "folded": 0}
        if name != "test_natural":
            assert part["Label"].mean() == 0.5
    assert set(split.test["Text"]) <= set(split.test_natural["Text"])


@given(
    st.lists(st.tuples(st.sampled_from(["ham", "spam"]), st.text("aB1 !é", min_size=1, max_size=6)), max_size=60),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_clean_recipe_loses_nothing_and_never_splits_a_group(rows, seed):
    frame = pd.concat([many(20, 20), messages(*rows)], ignore_index=True)
    split = split_messages(frame, "clean", 0.5, 0.2, False, seed)
    sides = [set(part["Text"].map(fold)) for part in (split.train, split.validation, split.test)]
    assert sum(len(part) for part in (split.train, split.validation, split.test)) == len(frame)
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


@given(st.text())
def test_fold_is_idempotent_and_ignores_case_digits_and_signs(text):
    assert fold(fold(text)) == fold(text)
    assert fold(f"{text} 12!") == fold(text)
    assert fold("GROẞE STRASSE") == fold("große Straße") == "grossestrasse"  # lower() leaves the ß as it is


def test_the_seed_decides():
    first, again, other = (split_messages(many(40, 40), "clean", 0.7, 0.1, True, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first.train, again.train)
    assert not first.train.equals(other.train)


@pytest.mark.parametrize("recipe", ["book", "clean"])
def test_balance_can_be_switched_off(recipe):
    split = split_messages(many(60, 20), recipe, 0.7, 0.1, False, 1)
    assert sum(len(part) for part in (split.train, split.validation, split.test)) == 80


@pytest.mark.parametrize("recipe", ["book", "clean"])
def test_a_set_without_a_label_is_refused(recipe):
    with pytest.raises(InputError, match=r"split_spam: the \w+ set has no (ham|spam)"):
        split_messages(many(40, 3), recipe, 0.7, 0.1, True, 1)


def test_duplicates_that_the_clean_recipe_joins_are_told():
    same = many(40, 40).assign(Text=[f"Win £{number}!" for number in range(80)])
    with pytest.raises(InputError, match=r"40 of them (ham|spam); different texts, as recipe clean joins them: 1$"):
        split_messages(same, "clean", 0.7, 0.1, True, 1)
    with pytest.raises(InputError, match=r"40 of them (ham|spam)$"):
        split_messages(same, "book", 0.0, 0.1, True, 1)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "expected messages, found an empty file"),
        (b"ham\thello\nspam hello\n", "line 2: expected a label, one tab and a message, found 0 tabs"),
        (b"ham\ta\tb\n", "line 1: .* found 2 tabs"),
        (b"ham\thello\n\nspam\tx\n", "line 2: .* found 0 tabs"),
        (b"eggs\thello\n", "line 1: expected the label ham or spam, found 'eggs'"),
        (b"ham\t \n", "line 1: expected a message, found none"),
        (b"ham\thello\nham\t\xff\n", "line 2: expected UTF-8 text, found the byte 0xff"),
    ],
)
@pytest.mark.parametrize("recipe", ["book", "clean"])
def test_malformed_files(tmp_path, content, complaint, recipe):
    path = tmp_path / "messages"
    path.write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        read_messages(path, recipe)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="file not found"):
        read_messages(tmp_path / "none", "clean")


def test_the_sample_has_the_upstream_quirks(root):
    path = root / "data/sample/SMSSpamCollection"
    assert len(read_messages(path, "book")) < len(read_messages(path, "clean"))
