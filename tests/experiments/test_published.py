"""The published figures beside ours: which row a run is set beside, and what makes the two incomparable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments.published import Run, compared_rows, params_of_results, published_rows
from gpt_from_scratch.experiments.settings import changes_of, merged, raw_params
from gpt_from_scratch.experiments.study import read_study
from gpt_from_scratch.files.writing import write_json
from gpt_from_scratch.params.sections import load_params

ROOT = Path(__file__).resolve().parents[2]
STUDIES = [read_study(ROOT, name) for name in ("classification", "instructions", "schedule", "search")]
CLASSIFICATION, INSTRUCTIONS = STUDIES[:2]
BOOK = raw_params(ROOT / "profiles/book.yaml")
LOSSES = {"train_loss": 0.5, "validation_loss": 6.0}


@pytest.fixture
def metrics() -> dict[str, Any]:
    """The metrics of a run with OpenAI's weights on the book's data."""
    facts = {"data": "upstream", "pretrained": "openai"}
    accuracies = {**LOSSES, "train_accuracy": 0.45, "validation_accuracy": 0.5}
    return {
        "pretrain": {
            **facts,
            "pretrained": "none",
            "parameters": 163_009_536,
            "initial": dict(LOSSES),
            "final": dict(LOSSES),
        },
        "finetune_classify": {**facts, "base": "124M", "initial": accuracies, "final": dict(LOSSES)},
        "finetune_instruct": {**facts, "base": "355M", "initial": dict(LOSSES), "final": dict(LOSSES)},
        "evaluation": {"classifier": {name: {"accuracy": 0.95} for name in ("train", "validation", "test")}},
    }


@pytest.fixture
def compared(metrics) -> Callable[..., list[dict[str, Any]]]:
    """Compare a run with the book's settings, 355M for instructions, and some keys changed."""

    def call(changes: dict[str, Any] | None = None, curves: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        params = merged(BOOK, {"instruct.base": "gpt2/355M", **(changes or {})}, "a run")
        return compared_rows(STUDIES, Run(params, metrics, curves or {}), BOOK)

    return call


def of(rows: list[dict], training: str) -> list[dict]:
    return [row for row in rows if row["training"] == training]


def row(rows: list[dict], training: str, figure: str) -> dict:
    (found,) = (row for row in of(rows, training) if row["figure"] == figure)
    return found


def accuracies(rows: list[dict]) -> list[dict]:
    return [row(rows, "classification", f"{name} accuracy, %") for name in ("training", "validation", "test")]


def expected_settings(study, variant):
    """A variant's settings over the profile book."""
    return changes_of(study, variant, reduced=False)


def test_under_the_books_settings_all_that_is_measured_is_comparable(compared):
    rows = compared()
    assert {row["note"] for row in rows if row["ours"] is not None} == {""}
    assert {row["note"] for row in rows if row["ours"] is None} == {"not measured here"}
    assert {row["training"] for row in rows} == {"pretraining", "classification", "instructions"}
    json.dumps(rows, allow_nan=False)


@pytest.mark.parametrize(
    ("training", "figure", "published", "ours"),
    [
        ("pretraining", "parameters, there with 1,024 positions", 163_009_536, 163_009_536),
        ("pretraining", "untrained training loss", 10.988, 0.5),
        ("pretraining", "untrained validation loss", 10.981, 6.0),
        ("pretraining", "training loss (5 batches), last", 0.569, 0.5),
        ("pretraining", "validation loss (5 batches), last", 6.373, 6.0),
        ("pretraining", "training loss (5 batches), older edition", 0.391, 0.5),
        ("pretraining", "validation loss (5 batches), older edition", 6.452, 6.0),
        ("classification", "training accuracy, %", 97.21, 95),
        ("classification", "validation accuracy, %", 97.32, 95),
        ("classification", "test accuracy, %", 95.67, 95),
        ("classification", "training accuracy before, %, 10 batches", 46.25, 45),
        ("classification", "validation accuracy before, %, 10 batches", 45.0, 50),
        ("instructions", "training loss (5 batches), before", 3.826, 0.5),
        ("instructions", "validation loss (5 batches), before", 3.762, 6.0),
        ("instructions", "training loss (5 batches), last", 0.299, 0.5),
        ("instructions", "validation loss (5 batches), last", 0.657, 6.0),
    ],
)
def test_the_figure_stands_beside_ours_with_the_difference(compared, training, figure, published, ours):
    found = row(compared(), training, figure)
    assert (found["published"], found["ours"]) == (published, pytest.approx(ours))
    assert found["difference"] == pytest.approx(ours - published)


def test_the_test_accuracy_before_is_published_and_not_measured(compared):
    found = row(compared(), "classification", "test accuracy before, %, 10 batches")
    assert (found["published"], found["ours"], found["note"]) == (48.75, None, "not measured here")


def test_random_weights_are_held_against_row_10_and_need_no_real_ones(compared, metrics):
    metrics["finetune_classify"]["pretrained"] = "none"
    found = accuracies(compared({"classify.trainable": "all", "classify.initial_weights": "random"}))
    assert [row["published"] for row in found] == [100, 96.64, 93.67]
    assert {(row["source"], row["note"]) for row in found} == {("companion, row 10", "")}


@pytest.mark.parametrize("variant", CLASSIFICATION.published_runs(), ids=lambda variant: variant.name)
def test_each_published_variant_is_held_against_its_own_row(compared, metrics, variant):
    metrics["finetune_classify"]["base"] = variant.needs.size
    found = accuracies(compared(expected_settings(CLASSIFICATION, variant)))
    # Row 1 is the book's own run made again, and row 18 that of row 1: the book's is shown.
    shown = CLASSIFICATION.published_runs()[0] if variant.name in ("last-token", "ignore-index") else variant
    assert [row["published"] for row in found] == [shown.published[name] for name in ("train", "validation", "test")]
    assert {(row["source"], row["note"]) for row in found} == {(shown.origin, shown.deviation)}


def test_the_published_classifiers_are_the_books_appendix_es_and_the_companions():
    origins = [variant.origin for variant in CLASSIFICATION.published_runs()]
    assert origins[:2] == ["chapter 6", "appendix E"]
    assert sorted(origins[2:]) == sorted(f"companion, row {number}" for number in range(1, 20))


@pytest.mark.parametrize(
    ("changes", "source", "note"),
    [
        ({"max_length": 120}, "chapter 6", ""),
        ({"deciding_token": "first", "batch_size": 4}, "companion, row 2", "other settings: classify.batch_size 4"),
        (
            {"deciding_token": "last_real", "batch_size": 4},
            "companion, row 16",
            "other settings: classify.batch_size 4",
        ),
        ({"trainable": "lora", "lora.rank": 16, "lora.alpha": 16.0, "optimizer.lr": 8e-4}, "appendix E", ""),
        (
            {"trainable": "lora", "lora.rank": 16, "lora.alpha": 16.0},
            "appendix E",
            "other settings: classify.optimizer.lr 5e-05",
        ),
        (
            {"batch_size": 4, "accumulation_steps": 2},
            "chapter 6",
            "other settings: classify.batch_size 4, classify.accumulation_steps 2",
        ),
        ({"lora.rank": 2, "lora.alpha": 2.0}, "chapter 6", ""),
        ({"frozen_gb": 0.0, "kernels": "explicit", "eval_every": 7}, "chapter 6", ""),
    ],
)
def test_the_row_that_differs_least_is_shown_and_the_difference_named(compared, changes, source, note):
    found = accuracies(compared({f"classify.{key}": value for key, value in changes.items()}))
    assert {(row["source"], row["note"]) for row in found} == {(source, note)}


def test_lora_on_instructions_is_held_against_its_own_figures(compared):
    lora = {"instruct.trainable": "lora", "instruct.lora.rank": 16}
    for alpha, note in ((16.0, "other settings: instruct.lora.alpha 16.0"), (256.0, "")):
        rows = compared({**lora, "instruct.lora.alpha": alpha})
        found = row(rows, "instructions", "validation loss (5 batches), last")
        assert (found["published"], found["note"]) == (0.652, note)


@pytest.mark.parametrize(
    ("changes", "facts", "reason"),
    [
        ({"split_spam.recipe": "clean"}, {}, "other settings: split_spam.recipe clean"),
        ({}, {"pretrained": "synthetic"}, "synthetic weights"),
        ({}, {"data": "data/topics.csv"}, "other data: data/topics.csv"),
        (
            {"classify.trainable": "last_layer", "classify.base": "gpt2/355M"},
            {"base": "355M"},
            "not published for this variant",
        ),
    ],
)
def test_a_classifier_under_other_settings_says_so(compared, metrics, changes, facts, reason):
    metrics["finetune_classify"] |= facts
    rows = compared(changes)
    assert all(reason in row["note"] for row in of(rows, "classification"))
    assert not any(reason in row["note"] for row in rows if row["training"] != "classification")


def test_another_size_of_the_instruction_model_says_so(compared, metrics):
    metrics["finetune_instruct"] |= {"pretrained": "synthetic", "base": "124M"}
    rows = of(compared({"instruct.base": "gpt2/124M"}), "instructions")
    expected = "synthetic weights; size: 124M in the place of 355M"
    assert {row["note"].removesuffix("; not measured here") for row in rows} == {expected}


def test_settings_other_than_the_books_are_named(compared):
    rows = compared({"pretrain.epochs": 3, "pretrain.model.n_layers": 6, "classify.optimizer.lr": 1e-3})
    notes = {training: set() for training in ("pretraining", "classification", "instructions")}
    for found in rows:
        notes[found["training"]].add(found["note"].removesuffix("not measured here").removesuffix("; "))
    assert notes == {
        "pretraining": {"other settings: pretrain.epochs 3, pretrain.model.n_layers 6"},
        "classification": {"other settings: classify.optimizer.lr 0.001"},
        "instructions": {""},
    }


def test_many_settings_of_another_profile_are_named_by_it(compared, metrics):
    quick = load_params(ROOT / "profiles/quick.yaml")
    notes = {row["note"] for row in compared_rows(STUDIES, Run(quick, metrics), BOOK)}
    assert all("settings of the profile quick" in note for note in notes)


def test_other_data_make_every_figure_incomparable(compared, metrics):
    before = compared()
    for stage in ("pretrain", "finetune_classify", "finetune_instruct"):
        metrics[stage]["data"] = "sample"
    rows = compared()
    assert len(rows) == len(before)
    assert all(row["note"].startswith("other data: sample") for row in rows)
    assert row(rows, "pretraining", "parameters, there with 1,024 positions")["ours"] == 163_009_536


def test_a_figure_that_is_missing_is_shown_without_ours(compared, metrics):
    del metrics["pretrain"]["final"]
    found = row(compared(), "pretraining", "validation loss (5 batches), last")
    assert (found["ours"], found["difference"], found["note"]) == (None, None, "not measured here")


def test_the_curve_stands_beside_the_books_step_by_step(compared):
    curve = [{"step": step, "train_loss": 9.5 - step, "validation_loss": 10.0} for step in (0, 5)]
    rows = [row for row in compared(curves={"pretrain": curve}) if row["step"] is not None and row["ours"] is not None]
    found = {row["figure"]: row for row in rows}
    assert set(found) == {f"{word} loss at step {step}" for word in ("training", "validation") for step in (0, 5)}
    assert found["training loss at step 5"]["published"] == 8.066
    assert found["training loss at step 5"]["difference"] == pytest.approx(4.5 - 8.066)


def judge(name: str, model: str) -> dict[str, Any]:
    return {"name": name, "url": "http://localhost:11434/v1", "model": model, "seed": 1}


@pytest.mark.parametrize("variant", INSTRUCTIONS.published_runs(), ids=lambda variant: variant.name)
def test_each_published_way_to_learn_instructions_is_held_against_its_own_row(metrics, variant):
    metrics["evaluation"]["instructions"] = {"judges": {"a": {"mean": 1.0}, "b": {"mean": 50.0}}}
    base = {**BOOK, "evaluate": {**BOOK["evaluate"], "judges": [judge("a", "phi3"), judge("b", "llama3:8b")]}}
    params = merged(base, expected_settings(INSTRUCTIONS, variant), variant.name)
    rows = of(compared_rows(STUDIES, Run(params, metrics), BOOK), "instructions")
    assert all(found["source"] == variant.origin and not found["note"] for found in rows if found["ours"] is not None)
    last = row(rows, "instructions", "training loss (5 batches), last")
    assert (last["published"], last["ours"]) == (variant.published["train"], 0.5)
    if variant.name == "preferences":
        assert not any("score by" in found["figure"] for found in rows)
    else:
        judged = row(rows, "instructions", "score by Llama-3-8B, 0 to 100")
        assert (judged["published"], judged["ours"], judged["note"]) == (variant.published["judge"], 50.0, "")


def test_the_published_ways_to_learn_instructions():
    found = {
        variant.name: (variant.published["train"], variant.published.get("judge"))
        for variant in INSTRUCTIONS.published_runs()
    }
    assert found == {
        "baseline": (0.299, 49.45),
        "preferences": (0.606, None),
        "phi3-prompt": (0.424, 48.87),
        "masked-instruction": (0.143, 47.73),
        "alpaca-52k": (0.761, 48.16),
        "lora": (0.308, 50.23),
    }


def test_a_way_that_nobody_published_names_what_differs(compared):
    rows = of(compared({"instruct.prompt_style": "phi3", "instruct.mask_instruction": True}), "instructions")
    for expected in ("instruct.prompt_style phi3", "instruct.mask_instruction True", "not published for this variant"):
        assert all(expected in found["note"] for found in rows)


@pytest.mark.parametrize("model", ["llama3.1:8b", "gpt-4o", "llama3:70b", "llama31"])
def test_another_judge_than_the_books_says_so(metrics, model):
    metrics["evaluation"]["instructions"] = {"judges": {"a": {"mean": 60.0}}}
    base = {**BOOK, "evaluate": {**BOOK["evaluate"], "judges": [judge("a", model)]}}
    rows = compared_rows(STUDIES, Run(merged(base, {"instruct.base": "gpt2/355M"}, "a run"), metrics), BOOK)
    judged = row(rows, "instructions", "score by Llama-3-8B, 0 to 100")
    assert (judged["ours"], judged["note"]) == (60.0, f"other judge: {model}")


@pytest.fixture
def project(tmp_path, metrics):
    for name in ("experiments", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "profiles/book.yaml", tmp_path / "params.yaml")
    for name, content in metrics.items():
        write_json(tmp_path / f"metrics/{name}.json", content)
    return tmp_path


def test_a_projects_results_are_compared_with_the_parameters_that_made_them(project):
    def notes(training: str) -> set[str]:
        return {row["note"] for row in of(published_rows(project), training) if row["ours"] is not None}

    assert notes("classification") == {""}
    ran = {**BOOK["classify"], "epochs": 7}
    lock = {"stages": {"finetune_classify": {"params": {"params.yaml": {"classify": ran, "runtime.threads": 3}}}}}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert params_of_results(project).classify.epochs == 7
    assert notes("classification") == {"other settings: classify.epochs 7"}
    ran["no_such_key"] = 1  # of older code
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert notes("classification") == {""}


def test_without_studies_there_is_nothing_to_compare_with(project):
    shutil.rmtree(project / "experiments")
    assert published_rows(project) == []


def test_a_study_with_an_unknown_main_run_is_refused(project):
    path = project / "experiments/schedule.yaml"
    path.write_text(path.read_text().replace("main: chapter-5", "main: chapter-4"))
    with pytest.raises(InputError, match=r"schedule\.yaml: .*main: expected a variant, found chapter-4"):
        published_rows(project)


@pytest.mark.parametrize(
    ("model", "pretrained", "published", "note"),
    [
        ("gpt2/124M", "openai", 45.99, ""),
        ("gpt2/355M", "huggingface", 55.48, ""),
        ("gpt2/124M", "synthetic", 45.99, "synthetic weights"),
        ("pretrain", "none", 45.99, "not published for this variant"),
    ],
)
def test_benchmarks_stand_beside_the_figures_of_the_same_size(metrics, model, pretrained, published, note):
    found = {"model": model, "pretrained": pretrained, "lambada": {"accuracy": 0.4, "perplexity": 40.0}}
    changes = {"evaluate.benchmark_model": model, "download_gpt2.sizes": ["124M", "355M"]}
    changes["evaluate.benchmarks"] = ["lambada", "hellaswag", "wikitext"]
    run = Run(merged(BOOK, changes, "a run"), {**metrics, "evaluation": {"benchmarks": found}}, {})
    (first, *_) = of(compared_rows([*STUDIES, read_study(ROOT, "benchmarks")], run, BOOK), "zero-shot benchmarks")
    assert (first["published"], first["ours"]) == (published, 40.0)
    assert note in first["note"] and bool(note) == bool(first["note"])
