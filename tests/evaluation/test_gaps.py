"""What stands at the edges: empty sets, no room for a response, other settings than the book's, wide tables."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.classification import classification_metrics
from gpt_from_scratch.evaluation.instructions import response_loss
from gpt_from_scratch.evaluation.published import by_step, compare
from gpt_from_scratch.evaluation.results import results_table
from gpt_from_scratch.files.writing import write_csv, write_json
from gpt_from_scratch.params.sections import load_params

ENTRY = {"instruction": "Name a bird.", "input": "", "output": "A wren."}


@pytest.fixture
def book(root):
    """The settings of the profile `book`, with the instruction model in chapter 7's own size."""
    params = load_params(root / "profiles" / "book.yaml")
    weights = {"pretrained": "openai"}
    return {
        "data": "upstream",
        "pretrain": params.pretrain.model_dump(),
        "classify": {**params.classify.model_dump(), **weights, "base": "124M", "recipe": params.split_spam.recipe},
        "instruct": {**params.instruct.model_dump(), **weights, "base": "355M"},
    }


def test_a_set_without_messages_has_no_figures():
    assert classification_metrics(np.array([], int), np.empty((0, 2)), ("ham", "spam")) == {
        "messages": 0,
        "accuracy": None,
    }


def test_no_room_for_any_response_is_one_clear_error(random_model, tokenizer):
    with pytest.raises(InputError, match=r"instruct\.max_length: expected room .* found 5 tokens"):
        response_loss(random_model(), tokenizer, [ENTRY], 5, 1)


def test_the_profile_book_has_the_books_settings(book):
    assert {row["note"] for row in compare({}, book)} == {"not measured here"}


def test_settings_other_than_the_books_are_named(book):
    book["pretrain"]["epochs"] = 3
    book["pretrain"]["model"] = {**book["pretrain"]["model"], "n_layers": 6}
    book["classify"]["optimizer"] = {**book["classify"]["optimizer"], "lr": 1e-3}
    notes = {training: set() for training in ("pretraining", "classification", "instructions")}
    for row in compare({}, book):
        notes[row["training"]].add(row["note"].removesuffix("; not measured here"))
    assert notes["pretraining"] == {"other settings: epochs 3, model.n_layers 6"}
    assert notes["classification"] == {"other settings: optimizer.lr 0.001"}
    assert notes["instructions"] == {"not measured here"}


def test_the_curve_stands_beside_the_books_step_by_step(tmp_path, book):
    path = tmp_path / "pretrain.csv"
    write_csv(path, [{"step": step, "train_loss": 9.5 - step, "validation_loss": 10.0} for step in (0, 5)])
    with path.open(encoding="utf-8") as file:
        curve = by_step(csv.DictReader(file))
    rows = {row["figure"]: row for row in compare({"curves": {"pretrain": curve}}, book) if row["ours"] is not None}
    assert set(rows) == {f"{word} loss at step {step}" for word in ("training", "validation") for step in (0, 5)}
    assert rows["training loss at step 5"]["published"] == 8.066
    assert rows["training loss at step 5"]["difference"] == pytest.approx(4.5 - 8.066)


def test_the_table_fits_a_hundred_columns(tmp_path, book):
    book["data"] = "sample"
    book["classify"].update(pretrained="synthetic", base="tiny")
    losses = {"train_loss": 1.0, "validation_loss": 1.0}
    results = {"pretrain": {"parameters": 1_193_216, "initial": losses, "final": losses}}
    empty = {"messages": 0, "accuracy": None}
    evaluation = {
        "data": "sample",
        "pretrained": "synthetic",
        "language_model": {**losses, "validation_perplexity": 1e9},
        "classifier": {"test_unseen": empty, "baseline": {"test": empty}},
        "instructions": {},
        "published": compare(results, book),
    }
    write_json(tmp_path / "evaluation.json", evaluation)
    table = results_table(tmp_path)
    assert max(map(len, table.splitlines())) <= 100
    (line,) = (line for line in table.splitlines() if " parameters " in line)
    assert line.split()[-3:] == ["1,193,216", "163,009,536", "-161,816,320"]
