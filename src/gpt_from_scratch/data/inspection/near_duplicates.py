"""Texts that are nearly equal, by the cosine of their TF-IDF vectors (chapter 7's companion).

A vector weighs each word and each sign by how often it stands in the text and how rare it is in all texts; the order of
the words plays no part. Rows are compared block by block, so that memory does not grow with the square of the texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

LARGEST_BLOCK = 2**22
"""Most pairs that are compared together; where all share a word, they take 12 bytes each."""

PAIRS_AT_ONCE = 2**15
FREQUENT = 0.01
"""A word is frequent that stands in more than this part of the texts. It decides a search's time, not its result."""

Numbers = NDArray[np.int64]

_WORD_OR_SIGN = r"(?u)\w+|[^\w\s]"
"""scikit-learn's own pattern leaves out single letters and digits, which may be all that two texts differ in."""
_ROUNDING = 1e-9


@dataclass(frozen=True, order=True)
class NearPair:
    """Two texts that are nearly equal, by their numbers from 0.

    Attributes:
        similarity: cosine, at most 1.
    """

    similarity: float
    first: int
    second: int


@dataclass(frozen=True)
class NearDuplicates:
    """The near-duplicates that a search found.

    Attributes:
        pairs: how many.
        texts: how many texts stand in one of them.
        closest: the most similar ones, as many as were asked for.
    """

    pairs: int
    texts: int
    closest: list[NearPair]


def near_duplicates(texts: Sequence[str], threshold: float, most: int) -> NearDuplicates:
    """Find the pairs of different texts whose cosine is at least `threshold`; of equal texts the first counts.

    Args:
        most: how many pairs to return.
    """
    numbers = {text: number for number, text in reversed(list(enumerate(texts)))}
    distinct = np.array(sorted(numbers.values()), dtype=np.int64)
    (vectors,) = _vectors([texts[number] for number in distinct])
    pairs, concerned, closest = 0, np.zeros(len(distinct), bool), []
    for first, second, similarity in _similar(vectors, vectors, threshold, upper=True):
        pairs += len(first)
        concerned[first] = concerned[second] = True
        closest = _closest(closest, distinct[first], distinct[second], similarity, most)
    return NearDuplicates(pairs, int(concerned.sum()), closest)


def near_matches(texts: Sequence[str], others: Sequence[str], threshold: float, most: int) -> NearDuplicates:
    """Find the texts that nearly or quite equal one of `others`, and for each the nearest of those.

    `pairs` and `texts` are then the same number, and `second` counts in `others`.
    """
    vectors, other_vectors = _vectors(texts, others)
    best = np.zeros(len(texts))
    nearest = np.zeros(len(texts), np.int64)
    for first, second, similarity in _similar(vectors, other_vectors, threshold):
        order = np.lexsort((-second, similarity))  # the last of equal rows stays: the most similar, then the first
        better = similarity[order] > best[first[order]]
        best[first[order][better]] = similarity[order][better]
        nearest[first[order][better]] = second[order][better]
    found = np.flatnonzero(best)
    return NearDuplicates(len(found), len(found), _closest([], found, nearest[found], best[found], most))


def _vectors(*groups: Sequence[str]) -> list[csr_array]:
    """Return the TF-IDF vectors of groups of texts, `[texts, words]`, each of length 1, weighed by all of them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=_WORD_OR_SIGN)
    vectorizer.fit(chain.from_iterable(groups))
    return [csr_array(vectorizer.transform(group)) for group in groups]


def _similar(
    rows: csr_array, columns: csr_array, threshold: float, upper: bool = False
) -> Iterator[tuple[Numbers, Numbers, NDArray[np.float64]]]:
    """Yield row numbers, column numbers and cosines of what reaches the threshold; all of a row's at once.

    What frequent words add to a cosine is at most the product of two lengths, those of the vectors' parts for these
    words. So for most rows only texts that share a rare word come into question, and only these are compared whole.

    Args:
        upper: only columns after the row: where both are the same texts, every pair once.
    """
    least = threshold - _ROUNDING
    frequent = np.bincount(columns.indices, minlength=columns.shape[1]) > FREQUENT * columns.shape[0]
    row_lengths, column_lengths = (np.sqrt(part[:, frequent].power(2).sum(axis=1)) for part in (rows, columns))
    whole = row_lengths * column_lengths.max() >= least
    size = max(1, LARGEST_BLOCK // columns.shape[0])
    rare = rows[:, ~frequent], columns[:, ~frequent]
    for (left, right), numbers in (((rows, columns), np.flatnonzero(whole)), (rare, np.flatnonzero(~whole))):
        for start in range(0, len(numbers), size):
            block = numbers[start : start + size]
            skipped = int(block[0]) if upper else 0
            product = (left[block] @ right[skipped:].T).tocoo()
            first, second = block[product.row], product.col + skipped
            most = product.data if left is rows else product.data + row_lengths[first] * column_lengths[second]
            kept = (most >= least) & (second > first) if upper else most >= least
            first, second = first[kept], second[kept]
            similarity = product.data[kept] if left is rows else _cosines(rows, columns, first, second)
            kept = similarity >= least
            yield first[kept], second[kept], np.minimum(similarity[kept], 1.0)


def _cosines(rows: csr_array, columns: csr_array, first: Numbers, second: Numbers) -> NDArray[np.float64]:
    """Return the cosine of each pair of a row and a column."""
    parts = [slice(start, start + PAIRS_AT_ONCE) for start in range(0, len(first), PAIRS_AT_ONCE)]
    products = [rows[first[part]].multiply(columns[second[part]]).sum(axis=1) for part in parts]
    return np.concatenate(products) if products else np.empty(0)


def _closest(
    known: list[NearPair],
    first: Numbers,
    second: Numbers,
    similarity: NDArray[np.float64],
    most: int,
) -> list[NearPair]:
    order = np.lexsort((second, first, -similarity.round(9)))[:most]
    new = [NearPair(float(similarity[at].round(9)), int(first[at]), int(second[at])) for at in order]
    return sorted([*known, *new], key=lambda pair: (-pair.similarity, pair.first, pair.second))[:most]
