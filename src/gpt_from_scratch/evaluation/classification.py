"""Figures of a classifier (chapter 6): accuracy and the like, ROC curve, reliability; and a simple baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TextsAndLabels = tuple[Sequence[str], Sequence[int]]


def classification_metrics(
    labels: Sequence[int] | np.ndarray, probability: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Return the usual figures for labels, `[messages]`, and the probability of every class, `[messages, classes]`.

    The most probable class is the predicted one. Of two classes the second is the positive one, whose precision,
    recall, F1 and ROC-AUC these are; of more, they are means over the classes, each against all others. `roc_auc` is
    None where a class has no message. `classes` has the figures one by one, and how many of a class's messages were
    taken for which, `predicted`. An empty set has neither.
    """
    from sklearn import metrics

    labels, classes = np.asarray(labels), range(len(names))
    if not len(labels):
        return {"messages": 0, "accuracy": None}
    two = len(names) == 2
    predicted = probability.argmax(axis=1)
    precision, recall, f1, counts = metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0.0
    )
    complete = all(counts)
    areas = [metrics.roc_auc_score(labels == one, probability[:, one]) if complete else None for one in classes]
    table = metrics.confusion_matrix(labels, predicted, labels=classes).tolist()

    def overall(values: Sequence[float]) -> float:
        return float(values[1] if two else np.mean(values))

    return {
        "messages": len(labels),
        "accuracy": float(np.mean(labels == predicted)),
        "precision": overall(precision),
        "recall": overall(recall),
        "f1": overall(f1),
        "roc_auc": overall(areas) if complete else None,
        "classes": {
            name: {
                "messages": int(counts[one]),
                "precision": float(precision[one]),
                "recall": float(recall[one]),
                "f1": float(f1[one]),
                "roc_auc": float(areas[one]) if complete else None,
                "predicted": {names[other]: count for other, count in enumerate(table[one]) if count},
            }
            for one, name in enumerate(names)
        },
    }


def baseline(
    train: TextsAndLabels, others: Mapping[str, TextsAndLabels], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Train TF-IDF with logistic regression, scikit-learn's own settings, and return its figures on every split.

    Args:
        train: with messages of every class.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)).fit(*train)
    return {
        name: classification_metrics(labels, classifier.predict_proba(texts), names)
        for name, (texts, labels) in {"train": train, **others}.items()
    }


def roc_points(labels: Sequence[int] | np.ndarray, probability: np.ndarray) -> list[dict[str, float]]:
    """Return the ROC curve as rows of `false_positive_rate` and `true_positive_rate`.

    Of two classes it is the second one's; of more, the mean of the curves of all, each against the others, at each
    false-positive rate: the area below it is the mean of the areas.

    Args:
        probability: of every class, `[messages, classes]`.
    """
    from sklearn import metrics

    labels, classes = np.asarray(labels), probability.shape[1]
    wanted = [1] if classes == 2 else range(classes)
    curves = [metrics.roc_curve(labels == one, probability[:, one])[:2] for one in wanted]
    x, y = curves[0] if len(curves) == 1 else _mean_curve(curves)
    return [{"false_positive_rate": float(a), "true_positive_rate": float(b)} for a, b in zip(x, y, strict=True)]


def reliability_points(labels: Sequence[int] | np.ndarray, probability: np.ndarray) -> list[dict[str, float]]:
    """Return the calibration curve as rows of `predicted_probability` and `observed_frequency`, in ten bins.

    Of two classes it is the probability of the second; of more, that of the predicted class. Bins without a message are
    left out.

    Args:
        probability: of every class, `[messages, classes]`.
    """
    from sklearn.calibration import calibration_curve

    labels = np.asarray(labels)
    two = probability.shape[1] == 2
    right = labels == (1 if two else probability.argmax(axis=1))
    said = probability[:, 1] if two else probability.max(axis=1)
    observed, predicted = calibration_curve(right, said.clip(0.0, 1.0), n_bins=10)
    rows = zip(predicted, observed, strict=True)
    return [{"predicted_probability": float(x), "observed_frequency": float(y)} for x, y in rows]


def _mean_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of curves from (0, 0) to (1, 1) that never fall; where any of them jumps, so does it."""
    at = np.unique(np.concatenate([x for x, _ in curves]))
    # Where a curve goes straight up, np.interp gives its upper end, and of the curve turned round its lower one.
    low = np.mean([-np.interp(-at, -x[::-1], -y[::-1]) for x, y in curves], axis=0)
    high = np.mean([np.interp(at, x, y) for x, y in curves], axis=0)
    return np.repeat(at, 2), np.stack([low, high], axis=1).ravel()
