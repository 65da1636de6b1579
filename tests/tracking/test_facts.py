"""Tags, hashes and names of a run."""

from __future__ import annotations

import subprocess

from gpt_from_scratch.files.nested import flatten
from gpt_from_scratch.tracking import facts


def test_git_tags_tell_a_changed_source_from_a_changed_result(tmp_path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    assert facts.git_tags(tmp_path / "nowhere") == {}
    git("init")
    assert facts.git_tags(tmp_path) == {}
    (tmp_path / "metrics").mkdir()
    for name in ("code.py", "dvc.lock", "metrics/a.json"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    clean = facts.git_tags(tmp_path)
    assert clean["git_dirty"] == "false"
    assert len(clean["mlflow.source.git.commit"]) == 40
    (tmp_path / "dvc.lock").write_text("2")
    (tmp_path / "metrics/a.json").write_text("2")
    assert facts.git_tags(tmp_path) == clean
    (tmp_path / "code.py").write_text("2")
    assert facts.git_tags(tmp_path)["git_dirty"] == "true"


def test_flatten_gives_the_leaves_nearest_to_the_root_first() -> None:
    content = {"a": {"b": {"c": 1}, "d": [1, 2]}, "e": "x"}
    assert list(flatten(content).items()) == [("e", "x"), ("a.d", [1, 2]), ("a.b.c", 1)]


def test_charts_stand_in_the_order_of_interest() -> None:
    """MLflow sorts the groups by name, and puts figures without one below them."""
    names = [
        "validation_loss",
        "loss",
        "train_loss",
        "validation_accuracy",
        "reward_accuracy",
        "lr",
        "grad_norm",
        "epoch",
    ]
    found = [facts.chart(name) for name in names]
    assert found == [
        *("loss/validation_loss", "loss/loss", "loss/train_loss", "score/validation_accuracy", "score/reward_accuracy"),
        *("training/lr", "training/grad_norm", "training/epoch"),
    ]
    groups = [name.partition("/")[0] for name in [*found[:4], "speed/tokens_per_second", *found[5:]]]
    assert groups == sorted(groups)
    assert facts.chart("system/memory") == "system/memory"


def test_a_row_of_a_table_is_seen_at_a_glance() -> None:
    row = {"prompt": "Every\n\neffort", "text": "Every\n\neffort moves\n\n \n\nyou\n\n", "step": 3}
    assert facts.compact(row) == {"prompt": "Every\neffort", "text": "moves\nyou", "step": 3}
    assert facts.compact({"text": "a\n\nb", "model_response": "c"}) == {"text": "a\nb", "model_response": "c"}


def test_names_and_values_become_legal() -> None:
    assert facts.legal("accuracy@k, %/test.set-a") == "accuracy_k_ _/test.set-a"
    assert facts.as_param([1, None]) == "[1, null]"
    assert facts.as_param("x" * 600) == "x" * 499 + "…"


def test_memory_is_a_plausible_number_of_megabytes() -> None:
    assert 5 < facts.memory_metrics()["peak_memory_mb"] < 100_000
