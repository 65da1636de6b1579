"""Stage `split_spam`: labelled messages for training, validation and test (chapter 6) → `data/spam`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

from gpt_from_scratch.data.fetch.raw import raw_file
from gpt_from_scratch.data.messages.labelled import class_names, read_table, write_class_names
from gpt_from_scratch.data.messages.spam import LABELS, read_messages, split_messages, split_statistics
from gpt_from_scratch.files.nested import flatten
from gpt_from_scratch.files.writing import new_folder, write_json, write_text
from gpt_from_scratch.pipeline.stage import Stage, run_stage


def split_spam(stage: Stage) -> None:
    """Split the messages and report what the sets hold and share."""
    params, data = stage.params.split_spam, stage.params.classify.data
    if data.is_book:
        source = raw_file(stage.raw, "SMSSpamCollection")
        messages, labels = read_messages(source, params.recipe), LABELS
    else:
        source = stage.root / data.path
        messages = read_table(source, data.text, data.label)
        labels = class_names(messages)
    stage.use_dataset(source, "split")
    split = split_messages(messages, **params.model_dump(), labels=labels)
    statistics = {**stage.message_facts(), "recipe": params.recipe, **split_statistics(messages, split, labels)}
    with new_folder(stage.root / "data" / "spam") as folder:
        for name, part in split.parts().items():
            write_text(folder / f"{name}.csv", part.to_csv(index=False, lineterminator="\n"))
        write_class_names(folder, labels)
    write_json(stage.metrics / "split_spam.json", statistics)
    for name, counts in statistics["splits"].items():
        stage.run.metrics({f"{name}_{key}": count for key, count in flatten(counts, "/").items()})
    stage.run.artifact(stage.metrics / "split_spam.json")


if __name__ == "__main__":
    run_stage("split_spam", ROOT, split_spam)
