"""Near duplicates, held against comparing every text with every other by TF-IDF computed by hand."""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter

import pytest

from gpt_from_scratch.data.inspection import near_duplicates as module
from gpt_from_scratch.data.inspection.near_duplicates import NearPair, near_duplicates, near_matches

COMMON = ["the", "of", "a", "is", ","]
RARE = [f"word{number}" for number in range(200)]


def by_hand(*groups):
    """Return a function that gives the cosine of two texts, weighed by all texts of the groups."""
    words = {text: Counter(re.findall(r"\w+|[^\w\s]", text.lower())) for group in groups for text in group}
    texts = [text for group in groups for text in group]
    documents = Counter(word for text in texts for word in words[text])

    def vector(text):
        rarity = {word: math.log((1 + len(texts)) / (1 + documents[word])) + 1 for word in words[text]}
        weights = {word: count * rarity[word] for word, count in words[text].items()}
        length = math.sqrt(sum(weight**2 for weight in weights.values()))
        return {word: weight / length for word, weight in weights.items()}

    vectors = {text: vector(text) for text in words}
    return lambda one, other: sum(weight * vectors[other].get(word, 0) for word, weight in vectors[one].items())


@pytest.fixture(scope="module")
def texts():
    """Texts of common and rare words; some are edited copies, some have common words alone, some are equal."""
    chance, found = random.Random(1), []
    for number in range(120):
        if number % 4 == 3:
            words = chance.choice(found).split()
            words[chance.randrange(len(words))] = chance.choice(RARE)
        elif number % 7 == 6:
            words = chance.choices(COMMON, k=5)
        else:
            words = [*chance.choices(COMMON, k=6), *chance.choices(RARE, k=4)]
        found.append(" ".join(words))
    return [*found, found[3], found[10].upper(), "5 + 3 = 8", "5 + 4 = 9"]


@pytest.mark.parametrize("threshold", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("block", [500, 2**22])
@pytest.mark.parametrize("frequent", [0.0, 0.05, 1.0])
def test_the_pairs_are_those_of_comparing_all_with_all(texts, monkeypatch, threshold, block, frequent):
    monkeypatch.setattr(module, "LARGEST_BLOCK", block)
    monkeypatch.setattr(module, "FREQUENT", frequent)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 7)
    firsts = [number for number, text in enumerate(texts) if text not in texts[:number]]
    assert len(firsts) < len(texts)
    cosine = by_hand([texts[number] for number in firsts])
    pairs = [(one, other) for one in firsts for other in firsts if one < other]
    expected = {pair: cosine(texts[pair[0]], texts[pair[1]]) for pair in pairs}
    expected = {pair: value for pair, value in expected.items() if value >= threshold - 1e-9}
    assert expected
    found = near_duplicates(texts, threshold, 10**6)
    assert {(pair.first, pair.second) for pair in found.closest} == set(expected)
    for pair in found.closest:
        assert pair.similarity == pytest.approx(expected[pair.first, pair.second], abs=1e-8)
    assert (found.pairs, found.texts) == (len(expected), len({number for pair in expected for number in pair}))
    assert near_duplicates(texts, threshold, 3).closest == found.closest[:3]
    similarities = [pair.similarity for pair in found.closest]
    assert similarities == sorted(similarities, reverse=True)


@pytest.mark.parametrize("block", [60, 2**22])
def test_the_nearest_of_others(texts, monkeypatch, block):
    monkeypatch.setattr(module, "LARGEST_BLOCK", block)
    ours, others = texts[:40], [*texts[40:], texts[5]]
    cosine = by_hand(ours, others)
    best = {number: max(cosine(text, other) for other in others) for number, text in enumerate(ours)}
    expected = {number: value for number, value in best.items() if value >= 0.8}
    found = near_matches(ours, others, 0.8, 10**6)
    assert {pair.first: pytest.approx(pair.similarity, abs=1e-8) for pair in found.closest} == expected
    assert found.texts == found.pairs == len(expected) > 2
    for pair in found.closest:
        assert cosine(ours[pair.first], others[pair.second]) == pytest.approx(best[pair.first])
    assert NearPair(1.0, 5, len(others) - 1) in found.closest


def test_of_equal_texts_the_first_counts_and_none_is_its_own_double():
    assert near_duplicates(["a b c", "d e f", "a b c", "a b c"], 0.5, 9) == module.NearDuplicates(0, 0, [])
    found = near_duplicates(["x", "a b c d", "a b c d", "a b c d e"], 0.7, 9)
    assert [(pair.first, pair.second) for pair in found.closest] == [(1, 3)]


def test_the_order_of_the_words_plays_no_part_and_single_digits_do():
    assert near_duplicates(["man bites dog", "Dog bites man"], 1.0, 9).closest == [NearPair(1.0, 0, 1)]
    assert near_duplicates(["add 5 and 3", "add 5 and 4"], 0.99, 9).pairs == 0


def test_the_books_instructions(mirror):
    """The entries 452 and 655 ask for the boiling point of ethanol, both."""
    entries = json.loads((mirror / "instruction-data.json").read_text(encoding="utf-8"))
    texts = ["\n".join((entry["instruction"], entry["input"], entry["output"])) for entry in entries]
    found = near_duplicates(texts, 0.9, 10**6)
    cosine = by_hand(texts)
    expected = {
        (one, other)
        for other in range(len(texts))
        for one in range(other)
        if entries[one]["instruction"].split()[:2] == entries[other]["instruction"].split()[:2]
        and cosine(texts[one], texts[other]) >= 0.9
    }
    assert expected <= {(pair.first, pair.second) for pair in found.closest}
    assert len(expected) >= 10
    assert (found.closest[0].first, found.closest[0].second) == (451, 654)
    assert all(cosine(texts[pair.first], texts[pair.second]) >= 0.9 for pair in found.closest)
