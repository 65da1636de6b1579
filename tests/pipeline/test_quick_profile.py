"""What the quick profile promises, by the metrics that are committed with it."""

from __future__ import annotations

import pytest

from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import load_params


@pytest.fixture(scope="module")
def metrics(root):
    """Return the metrics in the checkout; another profile or edited parameters are not this test's business."""
    folder = root / "metrics"
    if load_params(root / "params.yaml") != load_params(root / "profiles/quick.yaml"):
        pytest.skip("params.yaml is not the profile quick")
    return {path.stem: read_json(path) for path in folder.glob("*.json")}


def test_says_what_it_was_made_from(metrics):
    for name in ("split_spam", "pretrain", "finetune_classify", "finetune_instruct", "evaluation"):
        assert metrics[name]["data"] == "sample"
    assert metrics["finetune_classify"]["pretrained"] == "synthetic"
    assert "synthetic" in metrics["evaluation"]["pretrained"]


def test_learns_to_tell_spam_on_messages_unlike_any_trained_on(metrics):
    unseen = metrics["evaluation"]["classifier"]["test_unseen"]
    assert unseen["messages"] >= 100
    assert unseen["accuracy"] >= 0.90
    assert set(metrics["split_spam"]["overlap_with_train"]["test"].values()) == {0}


@pytest.mark.parametrize(("training", "fall"), [("pretrain", 1.5), ("finetune_instruct", 1.0)])
def test_losses_fall(metrics, training, fall):
    result = metrics[training]
    assert result["initial"]["validation_loss"] - result["final"]["validation_loss"] >= fall


def test_sample_is_small(root):
    assert sum(path.stat().st_size for path in (root / "data/sample").rglob("*") if path.is_file()) <= 1_000_000
