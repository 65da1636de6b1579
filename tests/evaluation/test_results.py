"""The table that `make repro` ends with."""

from __future__ import annotations

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figures
from gpt_from_scratch.evaluation.published import compare
from gpt_from_scratch.evaluation.results import results_table
from gpt_from_scratch.files.writing import write_json


@pytest.fixture
def evaluation() -> dict:
    """What the stage `evaluate` writes, of a quick run."""
    losses = {"train_loss": 4.15217743, "validation_loss": 4.95574729}
    sets = {
        name: {"messages": messages, "accuracy": 0.95, "roc_auc": None}
        for name, messages in {"train": 472, "validation": 40, "test": 144, "test_unseen": 144}.items()
    }
    trainings = {
        "pretrain": {"parameters": 1_193_216, "initial": losses, "final": losses},
        "classify": {"initial": {"train_accuracy": 0.425, "validation_accuracy": 0.484375}},
        "instruct": {"initial": losses, "final": losses},
        "classifier": sets,
    }
    settings = {
        "data": "sample",
        "classify": {
            "base": "tiny",
            "trainable": "all",
            "initial_weights": "base",
            "pretrained": "synthetic",
            "recipe": "clean",
        },
        "instruct": {"base": "tiny", "pretrained": "synthetic"},
    }
    return {
        "data": "sample",
        "pretrained": "classify: synthetic; instruct: synthetic",
        "language_model": {**losses, "train_perplexity": 63.57, "validation_perplexity": 141.99, "samples": []},
        "classifier": {**sets, "baseline": {"train": {"accuracy": 1.0}, "test": {"accuracy": 0.8611}}},
        "instructions": {"response_loss": 2.5, "entries": 21, "exact_match": 0.0, "loose_match": 0.0, "rouge_l": 0.1},
        "published": compare(trainings, settings),
    }


def test_the_table_says_what_it_was_made_from_first(tmp_path, evaluation):
    write_json(tmp_path / "evaluation.json", evaluation)
    assert results_table(tmp_path).splitlines()[0] == (
        "data: sample    pretrained: classify: synthetic; instruct: synthetic"
    )


def test_our_own_figures_stand_in_the_table(tmp_path, evaluation):
    write_json(tmp_path / "evaluation.json", evaluation)
    lines = [" ".join(line.split()) for line in results_table(tmp_path).splitlines()]
    for line in (
        "pretraining value",
        "validation loss 4.956",
        "validation perplexity 142.0",
        "classification accuracy messages",
        "test 95.0 % 144",
        "test unseen 95.0 % 144",
        "classification, TF-IDF + logistic regression",
        "test 86.1 %",
        "instructions value",
        "response loss 2.500",
        "ROUGE-L 0.100",
        "exact match 0.0 %",
    ):
        assert line in lines


def test_a_new_figure_needs_no_further_line(tmp_path, evaluation):
    evaluation["classifier"]["test"]["brier_score"] = 0.25
    evaluation["safety"] = {"refusals": 3, "by_topic": {"fire": {"accuracy": 0.5}}}
    write_json(tmp_path / "evaluation.json", evaluation)
    lines = [" ".join(line.split()) for line in results_table(tmp_path).splitlines()]
    for line in ("classification accuracy brier score messages", "test 95.0 % 0.250 144", "refusals 3", "fire 50.0 %"):
        assert line in lines
    found = figures(evaluation)
    assert list(found)[:3] == [
        "language_model/validation_loss",
        "classifier/test/accuracy",
        "instructions/response_loss",
    ]
    assert {"classifier/test/brier_score", "safety/refusals", "safety/by_topic/fire/accuracy"} <= found.keys()


def test_tables_lists_and_words_are_no_figures():
    assert figures({"a": {"confusion": {"x_as_x": 1}, "b": None, "c": True, "d": "x", "e": [1], "f": 2}}) == {"a/f": 2}


def test_every_published_figure_stands_in_the_table_with_its_reason(tmp_path, evaluation):
    write_json(tmp_path / "evaluation.json", evaluation)
    table = results_table(tmp_path)
    below = table.split("\nthe book ")[1]
    for row in evaluation["published"]:
        if " at step " in row["figure"]:
            continue  # the curves stand in the file only
        (line,) = (
            line for line in below.splitlines() if line.startswith(row["training"]) and f" {row['figure']} [" in line
        )
        number = line.split("[")[1].split("]")[0]
        assert f"[{number}] not comparable: {row['note']}" in " ".join(below.split())
    assert "training loss, last evaluation [1] 4.152 0.569 3.583" in " ".join(below.split())
    assert "163,009,536" in below


def test_comparable_figures_have_no_mark(tmp_path, evaluation):
    for row in evaluation["published"]:
        row["note"] = ""
    write_json(tmp_path / "evaluation.json", evaluation)
    assert "[" not in results_table(tmp_path)


def test_results_before_any_evaluation_are_one_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"evaluation\.json: file not found"):
        results_table(tmp_path)
