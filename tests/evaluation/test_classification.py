"""Figures of a classifier, held against counting and ranking by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_from_scratch.evaluation.classification import (
    baseline,
    classification_metrics,
    reliability_points,
    roc_points,
)

# Multiples of a sixteenth: many ties, one half among them, and exact sums.
NAMES = ("ham", "spam")
SCORED = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 16)), min_size=1, max_size=40)


def arrays(scored: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in scored]), np.array([score / 16 for _, score in scored])


def both(spam: np.ndarray) -> np.ndarray:
    """Return the probabilities of both classes."""
    return np.stack([1 - spam, spam], axis=1)


@settings(deadline=None, max_examples=40)
@given(SCORED)
def test_metrics_are_what_counting_gives(scored):
    labels, spam = arrays(scored)
    found = classification_metrics(labels, both(spam), NAMES)
    counts = {
        f"{actual}_as_{predicted}": sum(
            (label == 1) == (actual == "spam") and (score > 8) == (predicted == "spam") for label, score in scored
        )
        for actual in ("ham", "spam")
        for predicted in ("ham", "spam")
    }
    right, called, real = counts["spam_as_spam"], (spam > 0.5).sum(), labels.sum()
    said = {f"{a}_as_{p}": n for a, row in found["classes"].items() for p, n in row["predicted"].items()}
    assert said == {pair: count for pair, count in counts.items() if count}
    assert found["messages"] == len(scored) == sum(counts.values())
    assert found["accuracy"] == pytest.approx((counts["ham_as_ham"] + right) / len(scored))
    assert found["precision"] == pytest.approx(right / called if called else 0)
    assert found["recall"] == pytest.approx(right / real if real else 0)
    assert found["f1"] == pytest.approx(2 * right / (called + real) if called + real else 0)
    json.dumps(found, allow_nan=False)  # plain numbers, that a metrics file can hold


@settings(deadline=None, max_examples=40)
@given(SCORED)
def test_roc_auc_is_how_often_spam_ranks_above_ham(scored):
    labels, spam = arrays(scored)
    found = classification_metrics(labels, both(spam), NAMES)["roc_auc"]
    pairs = [(s > h) + (s == h) / 2 for s in spam[labels == 1] for h in spam[labels == 0]]
    assert found == (pytest.approx(np.mean(pairs)) if pairs else None)


@settings(deadline=None, max_examples=40)
@given(SCORED.filter(lambda scored: len({label for label, _ in scored}) == 2))
def test_the_area_under_the_roc_points_is_the_roc_auc(scored):
    labels, spam = arrays(scored)
    points = roc_points(labels, both(spam))
    x, y = ([point[name] for point in points] for name in ("false_positive_rate", "true_positive_rate"))
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert x == sorted(x)
    assert y == sorted(y)
    assert np.trapezoid(y, x) == pytest.approx(classification_metrics(labels, both(spam), NAMES)["roc_auc"])


def test_reliability_is_how_often_a_probability_comes_true():
    spam = np.array([0.05, 0.05, 0.31, 0.33, 0.38, 0.96, 1.0])
    labels = np.array([0, 1, 0, 0, 1, 1, 1])
    rows = reliability_points(labels, both(spam))
    assert [row["predicted_probability"] for row in rows] == pytest.approx([0.05, 0.34, 0.98])
    assert [row["observed_frequency"] for row in rows] == pytest.approx([1 / 2, 1 / 3, 1.0])
    three = np.array([[0.82, 0.1, 0.08], [0.1, 0.86, 0.04], [0.2, 0.16, 0.64]])
    rows = reliability_points(np.array([0, 2, 2]), three)
    assert [(row["predicted_probability"], row["observed_frequency"]) for row in rows] == [
        (pytest.approx(0.64), 1.0),
        (pytest.approx(0.84), 0.5),
    ]


HAM = ["see you at home", "are you coming home", "call me when home", "see you soon mum"]
SPAM = ["win a free prize", "free cash prize now", "claim your free cash", "win cash now"]


def test_the_baseline_learns_from_the_training_texts_alone():
    train = (HAM + SPAM, [0] * 4 + [1] * 4)
    others = {"test": (["free prize", "see you home"], [1, 0]), "wrong": (["free prize", "see you home"], [0, 1])}
    found = baseline(train, others, NAMES)
    assert list(found) == ["train", "test", "wrong"]
    assert [found[name]["accuracy"] for name in found] == [1, 1, 0]
    assert found == baseline(train, others, NAMES)
    alone = baseline(train, {}, NAMES)
    assert alone == {"train": found["train"]}


def test_the_baseline_weighs_words_as_tf_idf_does():
    """The same texts as TF-IDF by hand into scikit-learn's regression."""
    from sklearn.linear_model import LogisticRegression

    texts, labels = HAM + SPAM, [0] * 4 + [1] * 4
    unknown = ["free home", "win mum", "see cash you", "zzz"]
    vocabulary = sorted({word for text in texts for word in text.split() if len(word) > 1})
    counts = np.array([[text.split().count(word) for word in vocabulary] for text in texts])
    weight = np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))) + 1

    def vectors(of: list[str]) -> np.ndarray:
        raw = np.array([[text.split().count(word) for word in vocabulary] for text in of]) * weight
        return raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)

    spam = LogisticRegression(max_iter=1000).fit(vectors(texts), labels).predict_proba(vectors(unknown))
    expected = classification_metrics([1, 0, 0, 1], spam, NAMES)
    assert baseline((texts, labels), {"test": (unknown, [1, 0, 0, 1])}, NAMES)["test"] == expected
