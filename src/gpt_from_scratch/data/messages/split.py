"""The folder `data/spam`: labelled messages split into training, validation and test sets (chapter 6)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_from_scratch.data.messages.labelled import class_names, read_splits, write_class_names
from gpt_from_scratch.data.messages.spam import LABELS, read_messages, split_messages, split_statistics
from gpt_from_scratch.data.raw.files import raw_file
from gpt_from_scratch.files.writing import new_folder, read_json, write_json, write_metrics, write_text

if TYPE_CHECKING:
    from gpt_from_scratch.params.sections import SplitSpam
    from gpt_from_scratch.params.trainings import LabelledData


def split_spam(params: SplitSpam, data: LabelledData, root: Path) -> tuple[list[Path], dict[str, Any]]:
    """Split the messages into `data/spam`, and write `metrics/split_spam.json` and `metrics/tables/labels.json`.

    Args:
        params: the recipe, the fractions and the seed.
        data: the book's messages, or tables of one's own.
        root: the project's folder.

    Returns:
        The files that were read, and their statistics: counts, duplicates, overlap between the splits.

    Raises:
        InputError: when the file is not as expected, or a split lacks a label.
    """
    raw = root / "data" / "raw"
    facts = {"data": read_json(raw / "sources.json")["data"]} if data.is_book else {"data": data.path}
    if data.is_book:
        source = raw_file(raw, "SMSSpamCollection")
        given, labels = {"train": (source, read_messages(source, params.recipe))}, LABELS
    else:
        given = read_splits(root / data.path, data.text, data.label, data.header, data.encoding)
        labels = class_names(given["train"][1])
    sources = [path for path, _ in given.values()]
    messages = given.pop("train")[1]
    others = {name: rows for name, (_, rows) in given.items()}
    split = split_messages(messages, **params.model_dump(), labels=labels, given=others)
    statistics = {**facts, "recipe": params.recipe, **split_statistics(messages, split, labels)}
    with new_folder(root / "data" / "spam") as folder:
        for name, part in split.parts().items():
            write_text(folder / f"{name}.csv", part.to_csv(index=False, lineterminator="\n"))
        write_class_names(folder, labels)
    write_json(root / "metrics" / "tables" / "labels.json", statistics.pop("labels"))
    write_metrics(root / "metrics" / "split_spam.json", statistics)
    return sources, statistics
