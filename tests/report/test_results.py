"""The tables of `gpt results`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import HEADLINES, figure_text, figures, headline, label
from gpt_from_scratch.experiments.published import published_rows
from gpt_from_scratch.files.writing import read_json, write_json
from gpt_from_scratch.report.results import book_table, log_published, results_table


@pytest.fixture
def project(root, tmp_path):
    """A project after a quick run, as the stages write it."""
    for name in ("experiments", "profiles"):
        shutil.copytree(root / name, tmp_path / name)
    shutil.copy(root / "profiles/quick.yaml", tmp_path / "params.yaml")
    losses = {"train_loss": 4.15217743, "validation_loss": 4.95574729}
    facts = {"data": "sample", "pretrained": "synthetic", "base": "tiny"}
    sets = {
        name: {"messages": messages, "accuracy": 0.95, "roc_auc": None}
        for name, messages in {"train": 472, "validation": 40, "test": 144, "test_unseen": 144}.items()
    }
    baseline = {"test": {"messages": 144, "accuracy": 0.8611, "f1": 0.5}}
    contents = {
        "pretrain": {**facts, "parameters": 1_193_216, "initial": losses, "final": losses},
        "finetune_classify": {**facts, "initial": {"train_accuracy": 0.425, "validation_accuracy": 0.484375}},
        "finetune_instruct": {**facts, "initial": losses, "final": losses},
        "evaluation": {
            "data": "sample",
            "pretrained": "classify: synthetic; instruct: synthetic",
            "language_model": {**losses, "validation_perplexity": 141.99, "bits_per_byte": 1.25},
            "classifier": {**sets, "baseline": baseline},
            "instructions": {"response_loss": 2.5, "entries": 21, "exact_match": 0.0, "rouge_l": 0.1},
        },
    }
    for name, content in contents.items():
        write_json(tmp_path / f"metrics/{name}.json", content)
    return tmp_path


def lines(project: Path) -> list[str]:
    return [" ".join(line.split()) for line in results_table(project).splitlines()]


def test_the_table_says_what_it_was_made_from_first(project):
    assert results_table(project).splitlines()[0] == (
        "data: sample    pretrained: classify: synthetic; instruct: synthetic"
    )


def test_our_own_figures_stand_in_the_table_new_ones_too(project):
    for line in (
        "pretraining value",
        "training loss 4.152",
        "validation loss 4.956",
        "validation perplexity 142.0",
        "bits per byte 1.250",
        "classification accuracy messages",
        "training 95.0 % (92.6–96.6 %) 472",
        "test 95.0 % (90.1–97.5 %) 144",
        "test unseen 95.0 % (90.1–97.5 %) 144",
        "classification, TF-IDF + logistic regression",
        "accuracy F1 messages",
        "test 86.1 % (79.5–90.8 %) 0.500 144",
        "instructions value",
        "response loss 2.500",
        "entries 21",
        "exact match 0.0 % (0.0–15.5 %)",
        "ROUGE-L 0.100",
    ):
        assert line in lines(project)


def test_a_new_figure_needs_no_further_line(project):
    evaluation = read_json(project / "metrics/evaluation.json")
    evaluation["classifier"]["test"]["brier_score"] = 0.25
    evaluation["safety"] = {"refusals": 3, "by_topic": {"fire": {"accuracy": 0.5}}}
    write_json(project / "metrics/evaluation.json", evaluation)
    named = "classification accuracy brier score messages", "test 95.0 % (90.1–97.5 %) 0.250 144"
    for line in (*named, "refusals 3", "fire 50.0 %"):
        assert line in lines(project)
    found = figures(evaluation)
    assert [*found][:5] == [name for name in HEADLINES if name in found]
    assert {"classifier/test/brier_score", "safety/refusals", "safety/by_topic/fire/accuracy"} <= found.keys()


def test_six_headline_figures_two_for_each_model(root, project):
    assert headline(read_json(root / "metrics/evaluation.json")) == [
        ("pretraining validation loss", "4.897", ""),
        ("pretraining validation perplexity", "133.9", ""),
        ("classification test accuracy", "95.1 %", "90.3–97.6 %"),
        ("classification test F1", "0.953", ""),
        ("instructions response loss", "5.038", ""),
        ("instructions ROUGE-L", "0.141", ""),
    ]
    evaluation = read_json(project / "metrics/evaluation.json")
    del evaluation["language_model"]
    evaluation["instructions"]["judges"] = {name: {"mean": mean, "scored": 3} for name, mean in (("a", 9.5), ("b", 2))}
    assert headline(evaluation) == [
        ("classification test accuracy", "95.0 %", "90.1–97.5 %"),
        ("instructions response loss", "2.500", ""),
        ("instructions judges a mean", "9.500", ""),
    ]


def test_a_figure_has_one_name_and_one_rounding():
    assert label("validation_loss", 5) == "validation loss (5 batches)"
    assert label("pretrain/final/train_loss") == "pretraining final training loss"
    texts = {"validation_loss": "4.926", "test/accuracy": "492.6 %", "train_perplexity": "4.9", "lr": "4.93"}
    assert {name: figure_text(4.9257, name) for name in texts} == texts
    shown = figure_text(None), figure_text(1600, "messages"), figure_text(0.00098452, "lr")
    assert shown == ("-", "1,600", "0.000985")


def test_lists_and_words_are_no_figures():
    assert figures({"a": {"b": None, "c": True, "d": "x", "e": [1], "f": 2}}) == {"a/f": 2}


def test_every_published_figure_stands_in_the_table_with_its_reason(project):
    below = book_table(project)
    published = published_rows(project)
    assert len(published) == 42
    for row in published:
        if row["step"] is not None:
            continue  # the curves stand in the report and in MLflow only
        (line,) = (
            line for line in below.splitlines() if line.startswith(row["training"]) and f" {row['figure']} [" in line
        )
        number = line.split("[")[1].split("]")[0]
        assert f"[{number}] not comparable: {row['note']}" in " ".join(below.split())
    assert "training loss (5 batches), last [1] 4.152 0.569 - " in " ".join(below.split())
    assert "163,009,536" in below


def test_comparable_figures_have_no_mark(project, monkeypatch):
    rows = [{**row, "note": ""} for row in published_rows(project)]
    monkeypatch.setattr("gpt_from_scratch.report.results.published_rows", lambda root: rows)
    assert "[" not in book_table(project)
    assert "training loss (5 batches), last 4.152 0.569 3.583" in " ".join(book_table(project).split())


def test_the_table_fits_a_hundred_columns(project):
    table = book_table(project)
    assert max(map(len, [*table.splitlines(), *results_table(project).splitlines()])) <= 100
    (line,) = (line for line in table.splitlines() if " parameters" in line)
    assert line.split()[-3:] == ["1,193,216", "163,009,536", "-"]


def test_the_table_shows_the_judges(project):
    evaluation = read_json(project / "metrics/evaluation.json")
    evaluation["instructions"] |= {
        "judges": {"a": {"mean": 49.5, "scored": 108, "unparsable": 2}},
        "judge_correlations": {"a and b": {"pearson": 0.9, "spearman": 0.8, "responses": 100}},
    }
    write_json(project / "metrics/evaluation.json", evaluation)
    found = lines(project)
    assert found[found.index("instructions, judges mean scored unparsable") + 1] == "a 49.500 108 2"
    assert found[found.index("instructions, judge correlations") + 1] == "pearson responses spearman"
    assert "a and b 0.900 100 0.800" in found


def test_a_project_without_studies_has_its_own_figures_alone(project):
    shutil.rmtree(project / "experiments")
    assert "validation loss" in results_table(project)
    with pytest.raises(InputError, match="expected studies with published figures"):
        book_table(project)


def test_a_study_that_is_not_valid_is_an_error_here_and_a_warning_in_a_run(project, caplog):
    (project / "experiments/new.yaml").write_text("kind: other\n")
    with pytest.raises(InputError, match=r"new\.yaml"):
        book_table(project)
    logged = []

    class Run:
        def table(self, rows, name):
            logged.append((name, len(rows)))

    log_published(project, Run())
    assert "no comparison with the published figures" in caplog.text
    (project / "experiments/new.yaml").unlink()
    log_published(project, Run())
    assert logged == [("published.json", 42)]


def test_results_before_any_evaluation_are_one_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"evaluation\.json: file not found"):
        results_table(tmp_path)
