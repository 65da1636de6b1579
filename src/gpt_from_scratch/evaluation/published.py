"""The figures that the book and its companion repository publish, set beside ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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
        "accumulation_steps": 1,
        "epochs": 10,
        "eval_batches": 5,
        "stride": 256,
        "train_fraction": 0.9,
        "optimizer": {"lr": 4e-4, "weight_decay": 0.1},
        "schedule": {"kind": "constant", "max_grad_norm": "none"},
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
        "accumulation_steps": 1,
        "epochs": 5,
        "drop_rate": 0.0,
        "optimizer": _OPTIMIZER,
        "schedule": {"kind": "constant", "max_grad_norm": "none"},
    },
    "instruct": {
        "seed": 123,
        "batch_size": 8,
        "accumulation_steps": 1,
        "epochs": 2,
        "drop_rate": 0.0,
        "initial_weights": "base",
        "train_fraction": 0.85,
        "test_fraction": 0.1,
        "data": "instruction-data.json",
        "prompt_style": "alpaca",
        "mask_instruction": False,
        "objective": "answers",
        "trainable": "all",
        "optimizer": _OPTIMIZER,
        "schedule": {"kind": "constant", "max_grad_norm": "none"},
    },
}

_CHAPTER_6 = "chapter 6"
_BOOKS_VARIANT = {
    "base": "124M",
    "trainable": "last_block",
    "initial_weights": "base",
    "deciding_token": "last",
    "max_length": "longest",
    "causal": True,
}
_LONGEST_MESSAGE = 120
"""Tokens of the longest training message of the book's split."""


@dataclass(frozen=True)
class PublishedClassifier:
    """What is published of one way to fine-tune the classifier.

    Attributes:
        accuracies: on training, validation and test set.
        source: where they are published.
        variant: parameters under `classify` in which it differs from chapter 6.
        settings: those among them that do not make another variant: a run with others is held against it, and says so.
        deviation: what no parameter can make equal.
    """

    accuracies: tuple[float, float, float]
    source: str
    variant: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    deviation: str = ""


_LORA = "there an update counts alpha, not alpha / rank, and the head's own weights are trained too"


def _experiment(number: int, train: float, validation: float, test: float, **what: Any) -> PublishedClassifier:
    """Return a row of the companion's table; `what` are the parameters that it differs in from chapter 6."""
    note, deviation = what.pop("note", ""), what.pop("deviation", "")
    source = f"companion, row {number}{f' ({note})' if note else ''}"
    settings = {key: what.pop(key) for key in ("batch_size", "accumulation_steps", "lora", "optimizer") if key in what}
    return PublishedClassifier((train, validation, test), source, what, settings, deviation)


CLASSIFIERS = (
    PublishedClassifier((0.9721, 0.9732, 0.9567), _CHAPTER_6),
    _experiment(2, 0.7846, 0.8054, 0.7500, deciding_token="first"),
    _experiment(3, 0.7865, 0.7987, 0.7200, trainable="last_layer"),
    _experiment(4, 0.9885, 0.9866, 0.9833, trainable="last_two_blocks"),
    _experiment(5, 0.9962, 0.9664, 0.9667, trainable="all"),
    _experiment(6, 0.8750, 0.9128, 0.8467, base="355M"),
    _experiment(7, 0.9952, 0.9866, 0.9667, base="774M"),
    _experiment(8, 0.9981, 0.9981, 0.9833, base="1558M", note="99.81 % of 149 is impossible"),
    _experiment(9, 1.0, 0.9866, 0.9867, base="1558M", trainable="all"),
    _experiment(10, 1.0, 0.9664, 0.9367, initial_weights="random", trainable="all"),
    PublishedClassifier(
        (0.9981, 0.9799, 0.9667),
        "appendix E",
        {"trainable": "lora"},
        {"lora": {"rank": 16, "alpha": 16.0}, "optimizer": {"lr": 8e-4}},
    ),
    _experiment(
        11,
        1.0,
        0.9732,
        0.9667,
        trainable="lora",
        lora={"rank": 16, "alpha": 16.0 * 16},
        note="alpha 16",
        deviation=_LORA,
    ),
    _experiment(
        12,
        1.0,
        0.9866,
        0.9833,
        base="1558M",
        trainable="lora",
        lora={"rank": 16, "alpha": 16.0 * 8},
        note="alpha 8",
        deviation=_LORA,
    ),
    _experiment(13, 0.8308, 0.8792, 0.7833, max_length=1024),
    _experiment(16, 0.9942, 0.9866, 0.9833, deciding_token="last_real"),
    _experiment(14, 1.0, 0.9866, 0.9800, deciding_token="last_real", batch_size=1),
    _experiment(
        15,
        0.9933,
        0.9866,
        0.9833,
        deciding_token="last_real",
        batch_size=1,
        accumulation_steps=8,
        deviation="there the 5 messages that an epoch leaves over make an update too",
    ),
    _experiment(17, 0.9923, 0.9866, 0.9533, causal=False),
    _experiment(19, 0.9779, 0.9933, 0.9633, deciding_token="mean"),
)
"""The published classifiers; of several that a run can be held against, the first that it differs least from counts."""

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
    before: tuple[float, float] | None,
    curve: Mapping[int, tuple[float, float]],
    last: tuple[float, float],
    score: float | None,
    at: str = "",
) -> tuple[Published, ...]:
    """Return the rows of one way to learn instructions: losses on both sets before, at some steps, and at the end."""
    rows = []
    for moment, key, values, where in (("before", "initial", before, ""), (", last evaluation", "final", last, at)):
        if values is None:
            continue
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
            "data": "instruction-data-with-preference.json",
            "objective": "preferences",
            "epochs": 1,
            "optimizer": {"lr": 5e-6, "weight_decay": 0.01},
            "preferences": {"beta": 0.1},
        },
        _instructions(
            "companion, ch07/04, on chapter 7's 355M", (0.693, 0.693), {0: (0.692, 0.693)}, (0.606, 0.610), None
        ),
    ),
    (
        {"trainable": "lora", "lora": {"rank": 16, "alpha": 16.0 * 16}},
        _instructions(
            "companion, exercise 7.4, 355M (alpha 16, not divided by the rank)", None, {}, (0.308, 0.652), 50.23
        ),
    ),
)
_WAYS = ("objective", "prompt_style", "mask_instruction", "data", "trainable")
"""The parameters that tell the ways apart."""


def compare(results: Mapping[str, Any], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per published figure: `training`, `figure`, `source`, `published`, `ours`, `difference`, `note`.

    Args:
        results: `pretrain`, `classify`, `instruct` (the metrics of the trainings), `classifier` (accuracy by set),
            `curves`, for `pretrain` and `instruct` the losses by step (as text), see `by_step`, and `instructions`,
            with the `judges` if there are any.
        settings: `data`; `classify` and `instruct` with `base`, `pretrained` and, for the first, `initial_weights` and
            `recipe`; beside these, and under `pretrain`, the parameters of the trainings; `judges`, their parameters.
            They decide which published figures are shown, and those that differ from these are named. What is not
            given is taken for the book's.

    `note` says why the two cannot be compared, and is empty where they can.
    """
    classify, instruct = settings["classify"], settings["instruct"]
    data = "" if settings["data"] == "upstream" else f"other data: {settings['data']}"
    note = data or _other_settings(_BOOK_SETTINGS["pretrain"], settings.get("pretrain", {}))
    rows = [_compared("pretraining", figure, results, note) for figure in PRETRAINING]

    published, note = _nearest(classify)
    notes = [data or note]
    if settings["data"] == "upstream" and classify["recipe"] != "book":
        notes.append(f"other split: {classify['recipe']}")
    if classify["initial_weights"] == "base" and classify["pretrained"] not in _REAL:
        notes.append(f"other weights: {classify['pretrained']}")
    if not data:
        notes.append(published.deviation)
    note = "; ".join(filter(None, notes))
    for name, value in zip(("train", "validation", "test"), published.accuracies, strict=True):
        figure = Published(f"{name} accuracy", f"classifier.{name}.accuracy", value, published.source)
        rows.append(_compared("classification", figure, results, note))
    if published.source == _CHAPTER_6:
        rows += [_compared("classification", figure, results, note) for figure in _CLASSIFIER_BEFORE]

    if "data" in instruct:
        instruct = {**instruct, "data": PurePosixPath(instruct["data"]).name}
    expected, figures = _way_of(instruct)
    notes = [data or _other_settings(expected, instruct)]
    if instruct["pretrained"] not in _REAL:
        notes.append(f"other weights: {instruct['pretrained']}")
    if instruct["base"] != "355M":
        notes.append(f"other size: {instruct['base']}")
    note = "; ".join(filter(None, notes))
    return rows + [_judged(figure, results, settings, note) for figure in figures]


def _way_of(instruct: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Published, ...]]:
    """Return the settings and figures of the published way that is nearest to ours: the book's if none is ours."""
    book = _BOOK_SETTINGS["instruct"]
    for changes, figures in _INSTRUCTION_VARIANTS:
        settings = {**book, **changes}
        if all(instruct.get(key, book[key]) == settings[key] for key in _WAYS):
            return settings, figures
    return book, INSTRUCTIONS


def _judged(figure: Published, results: Mapping[str, Any], settings: Mapping[str, Any], note: str) -> dict[str, Any]:
    """Return a row on instructions; a judge's score is that of the book's judge, or of the first there is."""
    judges = settings.get("judges", ()) if figure.figure == _JUDGED else ()
    if judges:
        judge = next((one for one in judges if _LLAMA_3_8B.search(one["model"].lower())), judges[0])
        figure = replace(figure, key=f"instructions.judges.{judge['name']}.mean")
        if not _LLAMA_3_8B.search(judge["model"].lower()):
            note = "; ".join(filter(None, [note, f"other judge: {judge['model']}"]))
    return _compared("instructions", figure, results, note)


def by_step(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the rows of `metrics/plots/<training>.csv` by their step."""
    return {str(row["step"]): {name: float(row[name]) for name in ("train_loss", "validation_loss")} for row in rows}


def _nearest(classify: Mapping[str, Any]) -> tuple[PublishedClassifier, str]:
    """Return what a run of the classifier is held against, and what else it does otherwise."""
    chosen = {key: classify.get(key, value) for key, value in _BOOKS_VARIANT.items()}
    if chosen["max_length"] == _LONGEST_MESSAGE:
        chosen["max_length"] = "longest"
    same = [published for published in CLASSIFIERS if {**_BOOKS_VARIANT, **published.variant} == chosen]
    notes = []
    for published in same or CLASSIFIERS[:1]:
        book = _BOOK_SETTINGS["classify"]
        optimizer = {**book["optimizer"], **published.settings.get("optimizer", {})}
        expected = {**book, **published.settings, "optimizer": optimizer}
        notes.append((len(list(_differences(expected, classify))), _other_settings(expected, classify), published))
    _, note, published = min(notes, key=lambda found: found[0])
    unknown = "" if same else "not published for this variant; the book's main one is shown"
    return published, "; ".join(filter(None, [note, unknown]))


def _other_settings(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    other = list(_differences(expected, found))
    return f"other settings: {', '.join(other)}" if other else ""


def _differences(expected: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in expected:
        if key not in found:
            continue
        if isinstance(expected[key], Mapping):
            yield from _differences(expected[key], found[key], f"{prefix}{key}.")
        elif expected[key] != found[key]:
            yield f"{prefix}{key} {found[key]}"


def _compared(training: str, figure: Published, results: Mapping[str, Any], note: str) -> dict[str, Any]:
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
