"""The SMS Spam Collection: reading it, and splitting it or other labelled texts for training (chapter 6, section 6.2).

Two recipes. `book` gives row for row the book's sets, with what is wrong with them: pandas' default quoting takes a
message that begins with an unclosed quote for the start of a field of several lines, which swallows the messages up to
the next quote, and messages that occur several times stand in the training and in the test set. `clean` reads every
line as it is and keeps equal messages on one side. Other texts (see `labelled`) are read in one way and split in both.
"""

from __future__ import annotations

import io
import logging
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from gpt_from_scratch.errors import InputError, named, reason, shown
from gpt_from_scratch.files.reading import read_text

LABELS = ("ham", "spam")
Recipe = Literal["book", "clean"]
_PARTS = ("train", "validation", "test")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpamSplit:
    """Frames with the columns `Label` (the class's number: 0 ham, 1 spam) and `Text`.

    Attributes:
        test_natural: the test messages before balancing; None under the recipe `book`, which has no such set.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    test_natural: pd.DataFrame | None

    def parts(self) -> dict[str, pd.DataFrame]:
        """Return the sets by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return parts if self.test_natural is None else {**parts, "test_natural": self.test_natural}


def read_messages(path: Path, recipe: Recipe) -> pd.DataFrame:
    """Read lines of label, tab, message as the columns `Label` (`ham`, `spam`) and `Text`.

    Raises:
        InputError: naming file, line and reason, for a line without exactly one tab, an unknown label, an empty
            message, a carriage return or NUL within it or bytes that are not UTF-8; and under the recipe `book` for
            quotes that pandas cannot pair, or that hold nothing.
    """
    content = read_text(path)
    if "\n" not in content:
        content = content.replace("\r", "\n")
    rows = _checked_lines(content, path)
    if recipe == "clean":
        return pd.DataFrame(rows, columns=["Label", "Text"])
    try:
        table, names = io.StringIO(content), ["Label", "Text"]
        frame = pd.read_csv(table, sep="\t", header=None, names=names, keep_default_na=False, dtype=str)
    except pd.errors.ParserError as error:
        found = reason(error)
        raise InputError(f"{path}: expected quotes in pairs, as the recipe book reads them, found: {found}") from None
    if (frame["Text"].str.strip() == "").any():
        raise InputError(f"{path}: expected messages, found an empty one in quotes, which the recipe book takes away")
    return frame


def _checked_lines(content: str, path: Path) -> list[tuple[str, str]]:
    if not content:
        raise InputError(f"{path}: expected messages, found an empty file")
    rows = []
    for number, line in enumerate(content.removesuffix("\n").split("\n"), start=1):
        place = f"{path}, line {number}"
        fields = line.removesuffix("\r").split("\t")
        if len(fields) != 2:
            raise InputError(f"{place}: expected a label, one tab and a message, found {len(fields) - 1} tabs")
        label, text = fields
        if label not in LABELS:
            raise InputError(f"{place}: expected the label ham or spam, found {shown(label)}")
        if not text.strip():
            raise InputError(f"{place}: expected a message, found none")
        if "\r" in text:  # CSV readers take it for the end of a line
            raise InputError(f"{place}: expected a message of one line, found a carriage return in it")
        if "\0" in text:
            raise InputError(f"{place}: expected a message in characters, found a NUL in it")
        rows.append((label, text))
    return rows


def fold(text: str) -> str:
    """Return a message's letters alone: what messages share that differ in case, accents, digits, signs or spacing.

    Meant to join too much rather than too little; all messages without any letter are one.
    """
    # Some letters have a case only once they are decomposed (ℋ), others decompose only in lower case.
    lower = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(character for character in lower if character.isalpha())


def split_messages(
    messages: pd.DataFrame,
    recipe: Recipe,
    train: float,
    validation: float,
    balance: bool,
    seed: int,
    labels: Sequence[str] = LABELS,
    given: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> SpamSplit:
    """Split messages into training, validation and test sets.

    Args:
        messages: as `read_messages` or `read_table` returns them.
        recipe: see the module's docstring.
        train, validation: fractions; the rest is the test set.
        balance: sample every class down to the smallest one: before the split (`book`), or in each set (`clean`).
        seed: of sampling and shuffling; the book's is 123.
        labels: names of the classes, in the order of their numbers.
        given: the publisher's `test` set, and perhaps `validation` set: the messages are split into the others, in the
            proportion of the fractions. `clean` leaves out messages that these sets have too, and warns of it.

    Raises:
        InputError: when a set is empty or lacks a label.
    """
    if given:
        train, validation = (1.0, 0.0) if "validation" in given else (train / (train + validation), 1.0)
    cut = _split_book if recipe == "book" else _split_clean
    split = cut(messages, labels, train, validation, balance, seed, given)
    for name, part in split.parts().items():
        present = set(part["Label"])
        for number, label in enumerate(labels):
            if number not in present:
                texts = messages["Text"].map(fold).nunique() if recipe == "clean" else len(messages)
                raise InputError(
                    f"split_spam: the {name} set has no {named(label)}: expected some of each label, found {len(part)} "
                    f"messages from a source of {len(messages)}, {(messages['Label'] == label).sum()} of them "
                    f"{named(label)}"
                    + (f"; different texts, as recipe clean joins them: {texts}" if texts < len(messages) else "")
                )
    return split


def balanced(messages: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return as many messages of each label, sampled, as there are of the rarest, label by label (section 6.2).

    The rarest (with spam as many as ham: spam) stays as it is.
    """
    groups = [part for _, part in messages.groupby("Label")]
    rarest = min(reversed(groups), key=len, default=messages)
    return pd.concat(
        [part if part is rarest else part.sample(len(rarest), random_state=seed) for part in groups] or [messages]
    )


def shuffled_cut(
    messages: pd.DataFrame, train: float, validation: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Shuffle rows and cut them into training, validation and test (section 6.2)."""
    rows = messages.sample(frac=1, random_state=seed).reset_index(drop=True)
    train_end = int(len(rows) * train)
    validation_end = train_end + int(len(rows) * validation)
    return rows[:train_end], rows[train_end:validation_end], rows[validation_end:]


def _numbered(messages: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    return messages.assign(Label=messages["Label"].map({label: number for number, label in enumerate(labels)}))


def _split_book(
    messages: pd.DataFrame,
    labels: Sequence[str],
    train: float,
    validation: float,
    balance: bool,
    seed: int,
    given: Mapping[str, pd.DataFrame],
) -> SpamSplit:
    chosen, *others = (balanced(part, seed) if balance else part for part in (messages, *given.values()))
    parts = dict(zip(_PARTS, shuffled_cut(chosen, train, validation, seed), strict=True))
    parts |= dict(zip(given, others, strict=True))
    return SpamSplit(**{name: _numbered(part, labels) for name, part in parts.items()}, test_natural=None)


def _split_clean(
    messages: pd.DataFrame,
    labels: Sequence[str],
    train: float,
    validation: float,
    balance: bool,
    seed: int,
    given: Mapping[str, pd.DataFrame],
) -> SpamSplit:
    """Allot groups of equal folded text, label by label; a group's label is that of its first message."""
    groups = messages.assign(Group=messages["Text"].map(fold))
    known = groups["Group"].isin({fold(text) for part in given.values() for text in part["Text"]})
    if known.any():
        log.warning("%d of %d messages stand in the given sets too: left out", known.sum(), len(groups))
    messages, groups = messages[~known], groups[~known]
    heads = groups.drop_duplicates("Group")
    side: dict[str, int] = {}
    for _, rows in heads.groupby("Label"):
        for number, part in enumerate(shuffled_cut(rows, train, validation, seed)):
            side.update(dict.fromkeys(part["Group"], number))
    sides = groups["Group"].map(side)
    parts = [given.get(name, messages[sides == number]) for number, name in enumerate(_PARTS)]
    chosen = [balanced(part, seed) if balance else part for part in parts]
    shuffled = [_numbered(part.sample(frac=1, random_state=seed), labels).reset_index(drop=True) for part in chosen]
    return SpamSplit(*shuffled, test_natural=_numbered(parts[2], labels).reset_index(drop=True))


def split_statistics(messages: pd.DataFrame, split: SpamSplit, labels: Sequence[str] = LABELS) -> dict[str, Any]:
    """Return what is to be known about the sets: counts per label, duplicates in the source, overlap with training.

    A duplicate is a message that equals an earlier one; `overlap` counts the messages of a set that stand in the
    training set too, as they are (`exact`) and after `fold` (`folded`). `labels` has each label's count in every set.
    """
    train_exact = set(split.train["Text"])
    train_folded = set(split.train["Text"].map(fold))
    parts = split.parts()
    numbers = range(len(labels))
    counts = {name: [int((part["Label"] == number).sum()) for number in numbers] for name, part in parts.items()}
    return {
        "source": {
            "messages": len(messages),
            "classes": len(labels),
            "duplicates_exact": int(messages["Text"].duplicated().sum()),
            "duplicates_folded": int(messages["Text"].map(fold).duplicated().sum()),
        },
        "splits": {
            name: {"messages": len(part), "smallest_class": min(counts[name]), "largest_class": max(counts[name])}
            for name, part in parts.items()
        },
        "labels": {
            label: {"source": int((messages["Label"] == label).sum()), **{name: counts[name][number] for name in parts}}
            for number, label in enumerate(labels)
        },
        "overlap_with_train": {
            name: {
                "exact": int(part["Text"].isin(train_exact).sum()),
                "folded": int(part["Text"].map(fold).isin(train_folded).sum()),
            }
            for name, part in parts.items()
            if name != "train"
        },
    }
