"""The book's figures, and what makes ours incomparable."""

from __future__ import annotations

import json

import pytest

from gpt_from_scratch.evaluation.published import CLASSIFIERS, compare

LOSSES = {"train_loss": 0.5, "validation_loss": 6.0}


@pytest.fixture
def results():
    return {
        "pretrain": {"parameters": 163_009_536, "initial": LOSSES, "final": LOSSES},
        "classify": {"initial": {**LOSSES, "train_accuracy": 0.45, "validation_accuracy": 0.5}, "final": LOSSES},
        "instruct": {"initial": LOSSES, "final": LOSSES},
        "classifier": {name: {"accuracy": 0.95} for name in ("train", "validation", "test")},
    }


def book(**classify: object) -> dict:
    """The settings under which all of the book's figures can be compared."""
    variant = {"base": "124M", "trainable": "last_block", "initial_weights": "base"}
    return {
        "data": "upstream",
        "classify": {**variant, "pretrained": "openai", "recipe": "book", **classify},
        "instruct": {"base": "355M", "pretrained": "openai"},
    }


def row(rows: list[dict], training: str, figure: str) -> dict:
    (found,) = (row for row in rows if (row["training"], row["figure"]) == (training, figure))
    return found


def test_under_the_books_settings_all_that_is_measured_is_comparable(results):
    rows = compare(results, book())
    assert {row["note"] for row in rows if row["ours"] is not None} == {""}
    assert {row["note"] for row in rows if row["ours"] is None} == {"not measured here"}
    assert {row["training"] for row in rows} == {"pretraining", "classification", "instructions"}
    json.dumps(rows, allow_nan=False)


@pytest.mark.parametrize(
    ("training", "figure", "published", "ours"),
    [
        ("pretraining", "parameters", 163_009_536, 163_009_536),
        ("pretraining", "untrained training loss", 10.988, 0.5),
        ("pretraining", "untrained validation loss", 10.981, 6.0),
        ("pretraining", "training loss, last evaluation", 0.569, 0.5),
        ("pretraining", "validation loss, last evaluation", 6.373, 6.0),
        ("classification", "train accuracy", 0.9721, 0.95),
        ("classification", "validation accuracy", 0.9732, 0.95),
        ("classification", "test accuracy", 0.9567, 0.95),
        ("classification", "training accuracy before, 10 batches", 0.4625, 0.45),
        ("classification", "validation accuracy before, 10 batches", 0.45, 0.5),
        ("instructions", "training loss before", 3.826, 0.5),
        ("instructions", "validation loss before", 3.762, 6.0),
        ("instructions", "training loss, last evaluation", 0.299, 0.5),
        ("instructions", "validation loss, last evaluation", 0.657, 6.0),
    ],
)
def test_the_figure_stands_beside_ours_with_the_difference(results, training, figure, published, ours):
    found = row(compare(results, book()), training, figure)
    assert (found["published"], found["ours"]) == (published, ours)
    assert found["difference"] == pytest.approx(ours - published)


def test_random_weights_are_held_against_row_10_and_need_no_real_ones(results):
    settings = book(trainable="all", initial_weights="random", pretrained="none")
    rows = compare(results, settings)
    found = [row(rows, "classification", f"{name} accuracy") for name in ("train", "validation", "test")]
    assert [row["published"] for row in found] == [1.0, 0.9664, 0.9367]
    assert {(row["source"], row["note"]) for row in found} == {("companion, row 10", "")}


def accuracies(rows: list[dict]) -> tuple[dict, ...]:
    return tuple(row(rows, "classification", f"{name} accuracy") for name in ("train", "validation", "test"))


@pytest.mark.parametrize("published", CLASSIFIERS, ids=lambda published: published.source)
def test_each_published_variant_is_held_against_its_own_row(results, published):
    found = accuracies(compare(results, book(**published.variant, **published.settings)))
    assert tuple(row["published"] for row in found) == published.accuracies
    assert {(row["source"], row["note"]) for row in found} == {(published.source, published.deviation)}


@pytest.mark.parametrize(
    ("changes", "source", "note"),
    [
        ({"max_length": 120}, "chapter 6", ""),
        ({"deciding_token": "first", "batch_size": 4}, "companion, row 2", "other settings: batch_size 4"),
        ({"deciding_token": "last_real", "batch_size": 4}, "companion, row 16", "other settings: batch_size 4"),
        ({"trainable": "lora", "lora": {"rank": 16, "alpha": 16.0}}, "appendix E", ""),
        (
            {"trainable": "lora", "lora": {"rank": 16, "alpha": 16.0}, "optimizer": {"lr": 5e-5}},
            "appendix E",
            "other settings: optimizer.lr 5e-05",
        ),
        ({"batch_size": 4, "accumulation_steps": 2}, "chapter 6", "batch_size 4, accumulation_steps 2"),
        ({"lora": {"rank": 2, "alpha": 2.0}}, "chapter 6", ""),
    ],
)
def test_the_row_that_differs_least_is_shown_and_the_difference_named(results, changes, source, note):
    found = accuracies(compare(results, book(**changes)))
    assert {row["source"] for row in found} == {source}
    assert all(row["note"].endswith(note) and bool(row["note"]) == bool(note) for row in found)


def test_lora_on_instructions_is_held_against_its_own_figures(results):
    scaled = {"base": "355M", "pretrained": "openai", "trainable": "lora", "lora": {"rank": 16, "alpha": 16.0}}
    unscaled = {**scaled, "lora": {"rank": 16, "alpha": 256.0}}
    for instruct, note in ((scaled, "other settings: lora.alpha 16.0"), (unscaled, "")):
        found = row(
            compare(results, {**book(), "instruct": instruct}), "instructions", "validation loss, last evaluation"
        )
        assert (found["published"], found["note"]) == (0.652, note)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipe": "clean"}, "other split: clean"),
        ({"pretrained": "synthetic"}, "other weights: synthetic"),
        ({"trainable": "last_layer", "base": "355M"}, "not published for this variant"),
    ],
)
def test_a_classifier_under_other_settings_says_so(results, changes, reason):
    rows = compare(results, book(**changes))
    assert all(reason in row["note"] for row in rows if row["training"] == "classification")
    assert not any(reason in row["note"] for row in rows if row["training"] != "classification")


def test_another_size_of_the_instruction_model_says_so(results):
    settings = {**book(), "instruct": {"base": "124M", "pretrained": "synthetic"}}
    rows = [row for row in compare(results, settings) if row["training"] == "instructions"]
    assert all("other weights: synthetic; other size: 124M" in row["note"] for row in rows)


def test_other_data_make_every_figure_incomparable(results):
    rows = compare(results, {**book(), "data": "sample"})
    assert len(rows) == len(compare(results, book()))
    assert all(row["note"].startswith("other data: sample") for row in rows)
    assert row(rows, "pretraining", "parameters")["ours"] == 163_009_536


def test_a_figure_that_is_missing_is_shown_without_ours(results):
    del results["pretrain"]["final"]
    found = row(compare(results, book()), "pretraining", "validation loss, last evaluation")
    assert (found["ours"], found["difference"], found["note"]) == (None, None, "not measured here")


@pytest.mark.parametrize(
    ("changes", "source", "last", "score"),
    [
        ({}, "chapter 7, 355M", 0.299, 49.45),
        ({"prompt_style": "phi3"}, "companion, exercise 7.1, 355M", 0.424, 48.87),
        ({"mask_instruction": True}, "companion, exercise 7.2, 355M", 0.143, 47.73),
        (
            {"data": "data/alpaca_data.json", "batch_size": 4, "max_length": 512},
            "companion, exercise 7.3, 355M",
            0.761,
            48.16,
        ),
        (
            {
                "objective": "preferences",
                "data": "data/instruction-data-with-preference.json",
                "epochs": 1,
                "optimizer": {"lr": 5e-6, "weight_decay": 0.01},
                "preferences": {"beta": 0.1},
            },
            "companion, ch07/04, on chapter 7's 355M",
            0.606,
            None,
        ),
    ],
)
def test_each_published_way_to_learn_instructions_is_held_against_its_own_row(results, changes, source, last, score):
    judges = [{"name": "a", "model": "phi3"}, {"name": "b", "model": "llama3:8b"}]
    results["instructions"] = {"judges": {"a": {"mean": 1.0}, "b": {"mean": 50.0}}}
    settings = {**book(), "judges": judges}
    settings["instruct"] |= {"data": "data/raw/instruction-data.json", **changes}
    rows = [found for found in compare(results, settings) if found["training"] == "instructions"]
    assert row(rows, "instructions", "training loss, last evaluation")["published"] == last
    assert all(found["source"].startswith(source) and not found["note"] for found in rows if found["ours"] is not None)
    if score is None:
        assert not any("score by" in found["figure"] for found in rows)
    else:
        judged = row(rows, "instructions", "score by Llama-3-8B, 0 to 100")
        assert (judged["published"], judged["ours"], judged["note"]) == (score, 50.0, "")


def test_a_way_that_nobody_published_names_what_differs(results):
    settings = book()
    settings["instruct"] |= {"prompt_style": "phi3", "mask_instruction": True, "objective": "answers"}
    rows = [found for found in compare(results, settings) if found["training"] == "instructions"]
    expected = "other settings: prompt_style phi3, mask_instruction True"
    assert all(found["note"].startswith(expected) for found in rows)


@pytest.mark.parametrize("model", ["llama3.1:8b", "gpt-4o", "llama3:70b", "llama31"])
def test_another_judge_than_the_books_says_so(results, model):
    results["instructions"] = {"judges": {"a": {"mean": 60.0}}}
    rows = compare(results, {**book(), "judges": [{"name": "a", "model": model}]})
    judged = row(rows, "instructions", "score by Llama-3-8B, 0 to 100")
    assert (judged["ours"], judged["note"]) == (60.0, f"other judge: {model}")
