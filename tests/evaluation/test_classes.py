"""Figures of a classifier of several classes, held against scikit-learn's own averages and counting by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics

from gpt_from_scratch.evaluation.classification import baseline, classification_metrics, roc_points

NAMES = ("sports", "world news", "$pend_as_$ave", "weather")


@pytest.fixture(scope="module")
def scored():
    """Labels of 60 texts, four classes of different sizes, and probabilities that are often right."""
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), (30, 15, 10, 5))
    logits = random.normal(size=(60, 4)) + 1.2 * np.eye(4)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_means_over_the_classes_are_scikit_learns(scored):
    labels, probability = scored
    found, predicted = classification_metrics(labels, probability, NAMES), probability.argmax(axis=1)
    assert found["messages"] == 60
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    for name in ("precision", "recall", "f1"):
        score = getattr(metrics, f"{name}_score")
        assert found[name] == pytest.approx(score(labels, predicted, average="macro"))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, probability, multi_class="ovr"))
    json.dumps(found, allow_nan=False)


def test_each_class_against_the_others_by_counting(scored):
    labels, probability = scored
    found, predicted = classification_metrics(labels, probability, NAMES), probability.argmax(axis=1)
    assert list(found["classes"]) == list(NAMES)
    for number, name in enumerate(NAMES):
        own, called = labels == number, predicted == number
        right = (own & called).sum()
        one = found["classes"][name]
        assert one["messages"] == own.sum()
        assert (one["precision"], one["recall"]) == (
            pytest.approx(right / called.sum()),
            pytest.approx(right / own.sum()),
        )
        assert one["f1"] == pytest.approx(2 * right / (own.sum() + called.sum()))
        pairs = [(a > b) + (a == b) / 2 for a in probability[own, number] for b in probability[~own, number]]
        assert one["roc_auc"] == pytest.approx(np.mean(pairs))
        counts = {other: int((own & (predicted == place)).sum()) for place, other in enumerate(NAMES)}
        assert one["predicted"] == {other: count for other, count in counts.items() if count}


def test_a_set_that_lacks_a_class_has_no_area_but_all_else(scored):
    labels, probability = (part[:55] for part in scored)
    found = classification_metrics(labels, probability, NAMES)
    assert found["roc_auc"] is None
    assert found["classes"]["weather"] | {"precision": 0.0} == {
        "messages": 0, "precision": 0.0, "recall": 0.0, "f1": 0.0, "roc_auc": None, "predicted": {},
    }  # fmt: skip
    expected = metrics.f1_score(labels, probability.argmax(axis=1), labels=range(4), average="macro", zero_division=0)
    assert found["f1"] == pytest.approx(expected)


@pytest.mark.parametrize("digits", [1, 6])  # one digit: many ties, where a curve goes aslant
def test_the_curve_is_the_mean_of_the_classes_curves(scored, digits):
    labels, probability = scored[0], scored[1].round(digits)
    points = roc_points(labels, probability)
    x, y = ([point[name] for point in points] for name in ("false_positive_rate", "true_positive_rate"))
    assert (x[0], y[0], x[-1], y[-1]) == (0, pytest.approx(0, abs=0.5), 1, 1)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= -1e-12).all()
    areas = [metrics.roc_auc_score(labels == number, probability[:, number]) for number in range(4)]
    assert np.trapezoid(y, x) == pytest.approx(np.mean(areas))
    at = 0.3141  # where no class' curve goes straight up
    curves = [metrics.roc_curve(labels == number, probability[:, number])[:2] for number in range(4)]
    assert np.interp(at, x, y) == pytest.approx(np.mean([np.interp(at, *curve) for curve in curves]))


def test_the_baseline_tells_several_classes_apart():
    train = ["goal match team", "match goal win", "rain cloud sun", "sun rain wind", "vote law party", "party vote"]
    labels = [0, 0, 1, 1, 2, 2]
    found = baseline((train, labels), {"test": (["team match", "law", "cloud"], [0, 2, 1])}, NAMES[:3])
    assert found["test"]["accuracy"] == found["test"]["roc_auc"] == 1
    assert set(found["test"]["classes"]) == set(NAMES[:3])
