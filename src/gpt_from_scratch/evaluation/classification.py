"""How well messages are classified (chapter 6), beside what a simple classifier reaches on the same sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.sequences import DecidingToken, Sequences
from gpt_from_scratch.training.tasks import Classification

TextsAndLabels = tuple[Sequence[str], Sequence[int]]


@torch.no_grad()
def probabilities(
    model: GPTModel, token_ids: Tensor | Sequence[Tensor], batch_size: int, deciding_token: DecidingToken = "last"
) -> np.ndarray:
    """Return the probability of every class, `[messages, classes]`.

    Args:
        token_ids: `[messages, tokens]`, or messages `[tokens]` of different lengths.
        deciding_token: where a message's class is read; `last` and `last_real` both mean the last of these tokens.
    """
    task, parts = Classification(deciding_token=deciding_token), []
    for start in range(0, len(token_ids), batch_size):
        batch = token_ids[start : start + batch_size]
        inputs = batch if isinstance(batch, Tensor) else Sequences.of(batch)
        parts.append(torch.softmax(task.logits(model, inputs.to(model.device)), dim=-1).cpu())
    return torch.cat(parts).double().numpy()


def classification_metrics(labels: Sequence[int] | np.ndarray, spam_probability: np.ndarray) -> dict[str, Any]:
    """Return the usual figures for labels (1: spam) and the probability of spam, each `[messages]`.

    A message counts as spam from a probability above one half. `roc_auc` is None where there is one label only, and
    no set but an empty one lacks the other figures.
    """
    from sklearn import metrics

    labels = np.asarray(labels)
    if not len(labels):
        return {"messages": 0, "accuracy": None}
    predicted = (spam_probability > 0.5).astype(int)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, average="binary", zero_division=0.0
    )
    both = len(np.unique(labels)) == 2
    (true_ham, false_spam), (false_ham, true_spam) = metrics.confusion_matrix(labels, predicted, labels=[0, 1]).tolist()
    return {
        "messages": len(labels),
        "accuracy": float(np.mean(labels == predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(metrics.roc_auc_score(labels, spam_probability)) if both else None,
        "confusion": {
            "ham_as_ham": true_ham,
            "ham_as_spam": false_spam,
            "spam_as_ham": false_ham,
            "spam_as_spam": true_spam,
        },
    }


def baseline(train: TextsAndLabels, others: Mapping[str, TextsAndLabels]) -> dict[str, dict[str, Any]]:
    """Train TF-IDF with logistic regression, scikit-learn's own settings, and return its figures on every set."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)).fit(*train)
    return {
        name: classification_metrics(labels, classifier.predict_proba(texts)[:, 1])
        for name, (texts, labels) in {"train": train, **others}.items()
    }


def roc_points(labels: Sequence[int] | np.ndarray, spam_probability: np.ndarray) -> list[dict[str, float]]:
    """Return the ROC curve as rows of `false_positive_rate` and `true_positive_rate`."""
    from sklearn import metrics

    false_rate, true_rate, _ = metrics.roc_curve(labels, spam_probability)
    return [
        {"false_positive_rate": float(x), "true_positive_rate": float(y)}
        for x, y in zip(false_rate, true_rate, strict=True)
    ]
