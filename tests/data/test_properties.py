"""What holds for any messages, instructions and batches."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpt_from_scratch.data.instructions.entries import (
    IGNORE_INDEX,
    Instructions,
    collate,
    format_prompt,
    format_response,
    read_entries,
    split_entries,
)
from gpt_from_scratch.data.messages.messages import Messages, read_split
from gpt_from_scratch.data.messages.spam import LABELS, fold, read_messages, split_messages, split_statistics
from gpt_from_scratch.data.text.corpus import TokenWindows, split_text
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import read_json, write_json, write_text
from gpt_from_scratch.tokenizer.bpe import load_tokenizer

LETTERS = st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"])
MESSAGE = st.text(LETTERS | st.sampled_from("\"', é1"), min_size=1, max_size=12).filter(str.strip)
ROWS = st.lists(st.tuples(st.sampled_from(LABELS), MESSAGE), min_size=1, max_size=30)
SETTINGS = settings(deadline=None, derandomize=True, max_examples=50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def tokenizer(root):
    return load_tokenizer(root / "data/sample/bpe")


@SETTINGS
@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
def test_any_messages_come_back(folder, rows, end, last) -> None:
    text = end.join(f"{label}\t{message}" for label, message in rows) + (end if last else "")
    (folder / "messages").write_bytes(text.encode("utf-8"))
    assert read_messages(folder / "messages", "clean").to_numpy().tolist() == [list(row) for row in rows]


@SETTINGS
@given(rows=ROWS)
def test_the_books_recipe_reads_as_pandas_does_or_refuses(folder, rows) -> None:
    path = folder / "messages"
    path.write_bytes("".join(f"{label}\t{message}\n" for label, message in rows).encode("utf-8"))
    try:
        found = read_messages(path, "book")
    except InputError:
        assert any('"' in message for _, message in rows)
        return
    expected = pd.read_csv(path, sep="\t", header=None, names=["Label", "Text"], keep_default_na=False, dtype=str)
    pd.testing.assert_frame_equal(found, expected)
    if not any(message.startswith('"') for _, message in rows):
        assert found.to_numpy().tolist() == [list(row) for row in rows]


@SETTINGS
@given(rows=ROWS)
def test_any_set_survives_its_file(folder, rows) -> None:
    frame = pd.DataFrame({"Label": [LABELS.index(label) for label, _ in rows], "Text": [text for _, text in rows]})
    write_text(folder / "set.csv", frame.to_csv(index=False, lineterminator="\n"))
    pd.testing.assert_frame_equal(read_split(folder / "set.csv"), frame, check_dtype=False)


FRACTIONS = st.tuples(st.floats(0.1, 0.8), st.floats(0.05, 0.8)).filter(lambda pair: sum(pair) < 0.95)


@SETTINGS
@given(
    rows=ROWS,
    fractions=FRACTIONS,
    balance=st.booleans(),
    recipe=st.sampled_from(["book", "clean"]),
    seed=st.integers(0, 99),
)
def test_a_split_keeps_its_promises(rows, fractions, balance, recipe, seed) -> None:
    more = [(label, f"{label} {'x' * number}") for label in LABELS for number in range(12)]
    messages = pd.DataFrame([*rows, *more], columns=["Label", "Text"])
    try:
        split = split_messages(messages, recipe, *fractions, balance, seed)
    except InputError as error:
        assert "expected some of each label" in str(error)
        assume(False)
    parts = [split.train, split.validation, split.test]
    known = {(LABELS.index(label), text) for label, text in messages.to_numpy().tolist()}
    assert all({tuple(row) for row in part.to_numpy().tolist()} <= known for part in parts)
    if not balance:
        assert sum(len(part) for part in parts) == len(messages)
    counts = [part["Label"].value_counts() for part in parts]
    if recipe == "clean":
        sides = [set(part["Text"].map(fold)) for part in parts]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
        assert all(count[0] <= count[1] for count in counts) or not balance
        overlap = split_statistics(messages, split)["overlap_with_train"]
        assert all(count == {"exact": 0, "folded": 0} for count in overlap.values())
        groups = messages.assign(Group=messages["Text"].map(fold)).drop_duplicates("Group")["Label"].value_counts()
        if not balance:
            assert [len(side) for side in sides[:2]] == [
                sum(ends(groups[label], fractions)[part] for label in LABELS) for part in range(2)
            ]
    else:
        total = sum(len(part) for part in parts)
        assert [len(part) for part in parts[:2]] == ends(total, fractions)
        if balance:
            assert sum(counts)[0] <= sum(counts)[1]


def ends(total: int, fractions: tuple[float, float]) -> list[int]:
    """Return how many of so many the first two parts get, as the book cuts: the ends are rounded down."""
    first = int(total * fractions[0])
    return [first, first + int(total * fractions[1]) - first]


@SETTINGS
@given(
    texts=st.lists(MESSAGE, min_size=1, max_size=8),
    max_length=st.none() | st.integers(1, 12),
    limit=st.none() | st.integers(1, 12),
)
def test_padded_messages(tokenizer, texts, max_length, limit) -> None:
    frame = pd.DataFrame({"Label": [0] * len(texts), "Text": texts})
    messages = Messages(frame, tokenizer, pad_id=tokenizer.eot_token, max_length=max_length, limit=limit)
    encoded = [tokenizer.encode(text, disallowed_special=()) for text in texts]
    length = min(size for size in (max_length or max(map(len, encoded)), limit) if size is not None)
    assert messages.max_length == length
    assert messages.cut == sum(len(ids) > length for ids in encoded)
    for row, ids in zip(messages.token_ids.tolist(), encoded, strict=True):
        assert row == ids[:length] + [tokenizer.eot_token] * (length - len(ids))


BATCHES = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=10), min_size=1, max_size=6)


@SETTINGS
@given(batch=BATCHES, max_length=st.none() | st.integers(1, 12))
def test_collating_keeps_every_token_and_learns_each_end_once(batch, max_length) -> None:
    pad = 9
    inputs, targets = (part.tolist() for part in collate(batch, pad, max_length=max_length))
    longest = max(map(len, batch))
    width = longest if max_length is None else min(longest, max_length)
    for ids, kept, learnt in zip(batch, inputs, targets, strict=True):
        assert kept == (ids + [pad] * longest)[:width]
        assert learnt == (ids[1:] + [pad] + [IGNORE_INDEX] * longest)[:width]


@SETTINGS
@given(batch=BATCHES, pad=st.integers(0, 8))
def test_collating_with_a_pad_among_the_tokens_still_keeps_every_input(batch, pad) -> None:
    inputs, targets = collate(batch, pad)
    for ids, kept, learnt in zip(batch, inputs.tolist(), targets.tolist(), strict=True):
        assert kept[: len(ids)] == ids
        assert set(kept[len(ids) :]) <= {pad}
        assert learnt.count(pad) == 1
        assert [token for token in learnt if token not in (pad, IGNORE_INDEX)] == [t for t in ids[1:] if t != pad]


TEXT = st.text(max_size=12)
FULL = TEXT.filter(str.strip)
ENTRIES = st.lists(st.fixed_dictionaries({"instruction": FULL, "input": TEXT, "output": FULL}), min_size=1, max_size=20)


@SETTINGS
@given(entries=ENTRIES, ascii_only=st.booleans(), indent=st.none() | st.integers(0, 3))
def test_any_instructions_come_back(folder, entries, ascii_only, indent) -> None:
    path = folder / "data.json"
    path.write_text(json.dumps(entries, ensure_ascii=ascii_only, indent=indent), encoding="utf-8", newline="")
    assert read_entries(path) == entries


@SETTINGS
@given(entries=ENTRIES, fractions=FRACTIONS)
def test_instructions_are_cut_in_their_order(entries, fractions) -> None:
    try:
        parts = split_entries(entries, *fractions)
    except InputError as error:
        assert "is empty; change the fractions" in str(error)
        return
    assert [*parts[0], *parts[1], *parts[2]] == entries
    assert [len(part) for part in parts[:2]] == [int(len(entries) * fraction) for fraction in fractions]


@SETTINGS
@given(entries=ENTRIES, max_length=st.integers(1, 120))
def test_instructions_as_tokens(tokenizer, entries, max_length) -> None:
    data = Instructions(entries, tokenizer, max_length)
    assert [tokenizer.decode(ids) for ids in data] == [format_prompt(e) + format_response(e) for e in entries]
    assert data.cut == sum(len(ids) > max_length for ids in data)
    inputs, _ = collate(list(data), tokenizer.eot_token, max_length=max_length)
    for ids, row in zip(data, inputs.tolist(), strict=True):
        assert row[: len(ids)] == ids[:max_length]


@SETTINGS
@given(ids=st.lists(st.integers(0, 9), min_size=2, max_size=60), length=st.integers(1, 9), stride=st.integers(1, 12))
def test_windows_are_the_text(ids, length, stride) -> None:
    assume(len(ids) > length)
    windows = TokenWindows(ids, length, stride)
    for number in range(len(windows)):
        inputs, targets = windows[number]
        start = number * stride
        assert inputs.tolist() == ids[start : start + length]
        assert targets.tolist() == ids[start + 1 : start + length + 1]
    assert len(windows) == len(range(0, len(ids) - length, stride))


@SETTINGS
@given(text=TEXT, fraction=st.floats(0.01, 0.99))
def test_a_text_is_cut_without_loss(text, fraction) -> None:
    first, rest = split_text(text, fraction)
    assert first + rest == text
    assert len(first) == int(fraction * len(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False, width=32),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@SETTINGS
@given(content=JSON)
def test_any_json_that_is_written_is_read(folder, content) -> None:
    write_json(folder / "any.json", content)
    first = (folder / "any.json").read_bytes()
    write_json(folder / "any.json", read_json(folder / "any.json"))
    assert (folder / "any.json").read_bytes() == first
