"""The figures that the book and its companion repository publish, set beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_REAL = ("openai", "huggingface")


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
        figure: what it is, for a reader.
        key: where ours stands in the results, parts joined by dots; empty where we do not measure it.
        value: the published figure.
        source: where it is published.
    """

    figure: str
    key: str
    value: float
    source: str


PRETRAINING = (
    Published("parameters", "pretrain.parameters", 163_009_536, "chapter 5, untied"),
    Published("untrained training loss", "pretrain.initial.train_loss", 10.988, "chapter 5"),
    Published("untrained validation loss", "pretrain.initial.validation_loss", 10.981, "chapter 5"),
    Published("training loss, last evaluation", "pretrain.final.train_loss", 0.569, "chapter 5, notebook, step 85"),
    Published(
        "validation loss, last evaluation", "pretrain.final.validation_loss", 6.373, "chapter 5, notebook, step 85"
    ),
)

_CHAPTER_6 = "chapter 6"
# Accuracies on training, validation and test, by base, layers trained and initial weights.
_CLASSIFIERS = {
    ("124M", "last_block", "base"): (0.9721, 0.9732, 0.9567, _CHAPTER_6),
    ("124M", "last_layer", "base"): (0.7865, 0.7987, 0.7200, "companion, row 3"),
    ("124M", "last_two_blocks", "base"): (0.9885, 0.9866, 0.9833, "companion, row 4"),
    ("124M", "all", "base"): (0.9962, 0.9664, 0.9667, "companion, row 5"),
    ("355M", "last_block", "base"): (0.8750, 0.9128, 0.8467, "companion, row 6"),
    ("774M", "last_block", "base"): (0.9952, 0.9866, 0.9667, "companion, row 7"),
    ("1558M", "last_block", "base"): (0.9981, 0.9981, 0.9833, "companion, row 8 (99.81 % of 149 is impossible)"),
    ("1558M", "all", "base"): (1.0, 0.9866, 0.9867, "companion, row 9"),
    ("124M", "all", "random"): (1.0, 0.9664, 0.9367, "companion, row 10"),
}
_CLASSIFIER_BEFORE = (
    Published("training accuracy before, 10 batches", "classify.initial.train_accuracy", 0.4625, _CHAPTER_6),
    Published("validation accuracy before, 10 batches", "classify.initial.validation_accuracy", 0.45, _CHAPTER_6),
)

INSTRUCTIONS = (
    Published("training loss before", "instruct.initial.train_loss", 3.826, "chapter 7, 355M"),
    Published("validation loss before", "instruct.initial.validation_loss", 3.762, "chapter 7, 355M"),
    Published("training loss, last evaluation", "instruct.final.train_loss", 0.299, "chapter 7, 355M, step 230"),
    Published("validation loss, last evaluation", "instruct.final.validation_loss", 0.657, "chapter 7, 355M, step 230"),
    Published("score by Llama-3-8B, 0 to 100", "", 49.45, "chapter 7, 355M"),
)


def compare(results: Mapping[str, Any], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per published figure: `training`, `figure`, `source`, `published`, `ours`, `difference`, `note`.

    Args:
        results: `pretrain`, `classify`, `instruct` (the metrics of the trainings) and `classifier` (accuracy by set).
        settings: `data`; `classify` and `instruct` with `base`, `pretrained` and, for the first, `trainable`,
            `initial_weights` and `recipe`.

    `note` says why the two cannot be compared, and is empty where they can.
    """
    classify, instruct = settings["classify"], settings["instruct"]
    data = "" if settings["data"] == "upstream" else f"other data: {settings['data']}"
    rows = [_row("pretraining", figure, results, data) for figure in PRETRAINING]

    variant = (classify["base"], classify["trainable"], classify["initial_weights"])
    known = variant in _CLASSIFIERS
    notes = [data]
    if settings["data"] == "upstream" and classify["recipe"] != "book":
        notes.append(f"other split: {classify['recipe']}")
    if variant[2] == "base" and classify["pretrained"] not in _REAL:
        notes.append(f"other weights: {classify['pretrained']}")
    if not known:
        notes.append("not published for this variant; the book's main one is shown")
    note = "; ".join(filter(None, notes))
    *accuracies, source = _CLASSIFIERS[variant if known else ("124M", "last_block", "base")]
    for name, value in zip(("train", "validation", "test"), accuracies, strict=True):
        figure = Published(f"{name} accuracy", f"classifier.{name}.accuracy", value, source)
        rows.append(_row("classification", figure, results, note))
    if source == _CHAPTER_6:
        rows += [_row("classification", figure, results, note) for figure in _CLASSIFIER_BEFORE]

    notes = [data]
    if instruct["pretrained"] not in _REAL:
        notes.append(f"other weights: {instruct['pretrained']}")
    if instruct["base"] != "355M":
        notes.append(f"other size: {instruct['base']}")
    rows += [_row("instructions", figure, results, "; ".join(filter(None, notes))) for figure in INSTRUCTIONS]
    return rows


def _row(training: str, figure: Published, results: Mapping[str, Any], note: str) -> dict[str, Any]:
    ours: Any = results if figure.key else None
    for part in figure.key.split(".") if figure.key else ():
        ours = ours.get(part) if isinstance(ours, Mapping) else None
    if ours is None:
        note = "; ".join(filter(None, [note, "not measured here"]))
    return {
        "training": training,
        "figure": figure.figure,
        "source": figure.source,
        "published": figure.value,
        "ours": ours,
        "difference": None if ours is None else ours - figure.value,
        "note": note,
    }
