"""The figures that the book and its companion repository publish, set beside ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
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
    Published("parameters", "pretrain.parameters", 163_009_536, "chapter 4, with 1,024 positions"),
    Published("untrained training loss", "pretrain.initial.train_loss", 10.988, "chapter 5"),
    Published("untrained validation loss", "pretrain.initial.validation_loss", 10.981, "chapter 5"),
    Published("training loss, last evaluation", "pretrain.final.train_loss", 0.569, "chapter 5, notebook, step 85"),
    Published(
        "validation loss, last evaluation", "pretrain.final.validation_loss", 6.373, "chapter 5, notebook, step 85"
    ),
)

_CURVE = {
    0: (9.817, 9.924),
    5: (8.066, 8.332),
    10: (6.619, 7.042),
    20: (5.524, 6.508),
    30: (4.830, 6.263),
    40: (3.879, 6.130),
    50: (2.960, 6.123),
    60: (2.104, 6.133),
    70: (1.391, 6.230),
    80: (0.800, 6.278),
}
_INSTRUCT_CURVE = {0: (2.637, 2.626), 115: (0.519, 0.665)}


def _losses(training: str, curve: Mapping[int, tuple[float, float]], source: str) -> tuple[Published, ...]:
    """Return the losses that are printed while a training runs."""
    return tuple(
        Published(f"{word} loss at step {step}", f"curves.{training}.{step}.{key}", value, source)
        for step, values in curve.items()
        for word, key, value in zip(("training", "validation"), ("train_loss", "validation_loss"), values, strict=True)
    )


PRETRAINING += (
    Published("training loss, earlier edition", "pretrain.final.train_loss", 0.391, "chapter 5, earlier edition"),
    Published(
        "validation loss, earlier edition", "pretrain.final.validation_loss", 6.452, "chapter 5, earlier edition"
    ),
    *_losses("pretrain", _CURVE, "chapter 5, notebook"),
)

# What the book trains with; a run with other numbers is no reproduction of its figures.
_OPTIMIZER = {"lr": 5e-5, "weight_decay": 0.1}
_BOOK_SETTINGS: dict[str, dict[str, Any]] = {
    "pretrain": {
        "corpus": {"path": "data/raw/text.txt"},
        "seed": 123,
        "batch_size": 2,
        "epochs": 10,
        "eval_batches": 5,
        "stride": 256,
        "train_fraction": 0.9,
        "optimizer": {"lr": 4e-4, "weight_decay": 0.1},
        "schedule": {"kind": "constant", "max_grad_norm": None},
        "model": {
            "context_length": 256,
            "emb_dim": 768,
            "n_heads": 12,
            "n_layers": 12,
            "drop_rate": 0.1,
            "qkv_bias": False,
            "tie_weights": False,
        },
    },
    "classify": {
        "data": {"path": "data/raw/SMSSpamCollection"},
        "class_weights": "none",
        "seed": 123,
        "batch_size": 8,
        "epochs": 5,
        "drop_rate": 0.0,
        "optimizer": _OPTIMIZER,
        "schedule": {"kind": "constant", "max_grad_norm": None},
    },
    "instruct": {
        "seed": 123,
        "batch_size": 8,
        "epochs": 2,
        "drop_rate": 0.0,
        "initial_weights": "base",
        "train_fraction": 0.85,
        "test_fraction": 0.1,
        "data": "instruction-data.json",
        "prompt_style": "alpaca",
        "mask_instruction": False,
        "objective": "answers",
        "optimizer": _OPTIMIZER,
        "schedule": {"kind": "constant", "max_grad_norm": None},
    },
}

_CHAPTER_6 = "chapter 6"
# Accuracies on training, validation and test, by base, layers trained, initial weights and deciding token.
_CLASSIFIERS = {
    ("124M", "last_block", "base", "last"): (0.9721, 0.9732, 0.9567, _CHAPTER_6),
    ("124M", "last_layer", "base", "last"): (0.7865, 0.7987, 0.7200, "companion, row 3"),
    ("124M", "last_two_blocks", "base", "last"): (0.9885, 0.9866, 0.9833, "companion, row 4"),
    ("124M", "all", "base", "last"): (0.9962, 0.9664, 0.9667, "companion, row 5"),
    ("355M", "last_block", "base", "last"): (0.8750, 0.9128, 0.8467, "companion, row 6"),
    ("774M", "last_block", "base", "last"): (0.9952, 0.9866, 0.9667, "companion, row 7"),
    ("1558M", "last_block", "base", "last"): (
        0.9981,
        0.9981,
        0.9833,
        "companion, row 8 (99.81 % of 149 is impossible)",
    ),
    ("1558M", "all", "base", "last"): (1.0, 0.9866, 0.9867, "companion, row 9"),
    ("124M", "all", "random", "last"): (1.0, 0.9664, 0.9367, "companion, row 10"),
    ("124M", "last_block", "base", "last_real"): (0.9942, 0.9866, 0.9833, "companion, row 16"),
}
_CLASSIFIER_BEFORE = (
    Published("training accuracy before, 10 batches", "classify.initial.train_accuracy", 0.4625, _CHAPTER_6),
    Published("validation accuracy before, 10 batches", "classify.initial.validation_accuracy", 0.45, _CHAPTER_6),
    Published("test accuracy before, 10 batches", "", 0.4875, _CHAPTER_6),
)

_JUDGED = "score by Llama-3-8B, 0 to 100"
_LLAMA_3_8B = re.compile(r"llama-?3(?!\.?\d)(?!.*70b)")
"""In a judge's model, as Ollama and others name it: `llama3`, `Meta-Llama-3-8B-Instruct`; not `llama3.1`."""


def _instructions(
    source: str,
    before: tuple[float, float],
    curve: Mapping[int, tuple[float, float]],
    last: tuple[float, float],
    score: float | None,
    at: str = "",
) -> tuple[Published, ...]:
    """Return the rows of one way to learn instructions: losses on both sets before, at some steps, and at the end."""
    rows = []
    for moment, key, values, where in (("before", "initial", before, ""), (", last evaluation", "final", last, at)):
        for word, name, value in zip(
            ("training", "validation"), ("train_loss", "validation_loss"), values, strict=True
        ):
            figure = f"{word} loss{moment}" if moment.startswith(",") else f"{word} loss {moment}"
            rows.append(Published(figure, f"instruct.{key}.{name}", value, source + where))
    judged = () if score is None else (Published(_JUDGED, "", score, source),)
    return *rows, *_losses("instruct", curve, source), *judged


INSTRUCTIONS = _instructions("chapter 7, 355M", (3.826, 3.762), _INSTRUCT_CURVE, (0.299, 0.657), 49.45, at=", step 230")

_ALPACA = {"batch_size": 4, "max_length": 512}
# Other ways to learn that the companion publishes, each with what it sets otherwise than the book.
_INSTRUCTION_VARIANTS: tuple[tuple[dict[str, Any], tuple[Published, ...]], ...] = (
    (
        {"prompt_style": "phi3"},
        _instructions(
            "companion, exercise 7.1, 355M", (3.716, 3.644), {0: (2.633, 2.622)}, (0.424, 0.928), 48.87, ", step 230"
        ),
    ),
    (
        {"mask_instruction": True},
        _instructions(
            "companion, exercise 7.2, 355M", (2.281, 2.263), {0: (1.636, 1.620)}, (0.143, 0.727), 47.73, ", step 230"
        ),
    ),
    (
        {"data": "alpaca_data.json", **_ALPACA},
        _instructions(
            "companion, exercise 7.3, 355M", (3.368, 3.412), {0: (2.477, 2.750)}, (0.761, 1.557), 48.16, ", step 22095"
        ),
    ),
    (
        {
            "objective": "preferences",
            "epochs": 1,
            "optimizer": {"lr": 5e-6, "weight_decay": 0.01},
            "preferences": {"beta": 0.1},
        },
        _instructions(
            "companion, ch07/04, on chapter 7's 355M", (0.693, 0.693), {0: (0.692, 0.693)}, (0.606, 0.610), None
        ),
    ),
)
_WAYS = ("objective", "prompt_style", "mask_instruction", "data")
"""The parameters that tell the ways apart."""


def compare(results: Mapping[str, Any], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per published figure: `training`, `figure`, `source`, `published`, `ours`, `difference`, `note`.

    Args:
        results: `pretrain`, `classify`, `instruct` (the metrics of the trainings), `classifier` (accuracy by set),
            `curves`, for `pretrain` and `instruct` the losses by step (as text), see `by_step`, and `instructions`,
            with the `judges` if there are any.
        settings: `data`; `classify` and `instruct` with `base`, `pretrained` and, for the first, `trainable`,
            `initial_weights`, `deciding_token` and `recipe`; beside these, and under `pretrain`, the parameters of the
            trainings, of which those that differ from the book's are named; `judges`, their parameters. What is not
            given is taken for the book's.

    `note` says why the two cannot be compared, and is empty where they can.
    """
    classify, instruct = settings["classify"], settings["instruct"]
    data = "" if settings["data"] == "upstream" else f"other data: {settings['data']}"
    note = data or _other_settings("pretrain", settings.get("pretrain", {}))
    rows = [_row("pretraining", figure, results, note) for figure in PRETRAINING]

    variant = (
        classify["base"],
        classify["trainable"],
        classify["initial_weights"],
        classify.get("deciding_token", "last"),
    )
    known = variant in _CLASSIFIERS
    notes = [data or _other_settings("classify", classify)]
    if settings["data"] == "upstream" and classify["recipe"] != "book":
        notes.append(f"other split: {classify['recipe']}")
    if variant[2] == "base" and classify["pretrained"] not in _REAL:
        notes.append(f"other weights: {classify['pretrained']}")
    if not known:
        notes.append("not published for this variant; the book's main one is shown")
    note = "; ".join(filter(None, notes))
    *accuracies, source = _CLASSIFIERS[variant if known else ("124M", "last_block", "base", "last")]
    for name, value in zip(("train", "validation", "test"), accuracies, strict=True):
        figure = Published(f"{name} accuracy", f"classifier.{name}.accuracy", value, source)
        rows.append(_row("classification", figure, results, note))
    if source == _CHAPTER_6:
        rows += [_row("classification", figure, results, note) for figure in _CLASSIFIER_BEFORE]

    if "data" in instruct:
        instruct = {**instruct, "data": PurePosixPath(instruct["data"]).name}
    expected, figures = _way_of(instruct)
    notes = [data or _other_settings("instruct", instruct, expected)]
    if instruct["pretrained"] not in _REAL:
        notes.append(f"other weights: {instruct['pretrained']}")
    if instruct["base"] != "355M":
        notes.append(f"other size: {instruct['base']}")
    note = "; ".join(filter(None, notes))
    return rows + [_judged_row(figure, results, settings, note) for figure in figures]


def _way_of(instruct: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Published, ...]]:
    """Return the settings and figures of the published way that is nearest to ours: the book's if none is ours."""
    book = _BOOK_SETTINGS["instruct"]
    for changes, figures in _INSTRUCTION_VARIANTS:
        settings = {**book, **changes}
        if all(instruct.get(key, book[key]) == settings[key] for key in _WAYS):
            return settings, figures
    return book, INSTRUCTIONS


def _judged_row(
    figure: Published, results: Mapping[str, Any], settings: Mapping[str, Any], note: str
) -> dict[str, Any]:
    """Return a row on instructions; a judge's score is that of the book's judge, or of the first there is."""
    judges = settings.get("judges", ()) if figure.figure == _JUDGED else ()
    if judges:
        judge = next((one for one in judges if _LLAMA_3_8B.search(one["model"].lower())), judges[0])
        figure = replace(figure, key=f"instructions.judges.{judge['name']}.mean")
        if not _LLAMA_3_8B.search(judge["model"].lower()):
            note = "; ".join(filter(None, [note, f"other judge: {judge['model']}"]))
    return _row("instructions", figure, results, note)


def by_step(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the rows of `metrics/plots/<training>.csv` by their step."""
    return {str(row["step"]): {name: float(row[name]) for name in ("train_loss", "validation_loss")} for row in rows}


def _other_settings(training: str, found: Mapping[str, Any], expected: Mapping[str, Any] | None = None) -> str:
    other = list(_differences(expected or _BOOK_SETTINGS[training], found))
    return f"other settings: {', '.join(other)}" if other else ""


def _differences(expected: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in expected:
        if key not in found:
            continue
        if isinstance(expected[key], Mapping):
            yield from _differences(expected[key], found[key], f"{prefix}{key}.")
        elif expected[key] != found[key]:
            yield f"{prefix}{key} {found[key]}"


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
