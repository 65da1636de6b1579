"""Stage `split_spam`: messages for training, validation and test (chapter 6) → `data/spam`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

from gpt_from_scratch.data.raw import raw_file
from gpt_from_scratch.data.spam import read_messages, split_messages, split_statistics
from gpt_from_scratch.files import new_folder, write_json, write_text
from gpt_from_scratch.stage import Stage, run_stage


def split_spam(stage: Stage) -> None:
    """Split the messages and report what the sets hold and share."""
    params = stage.params.split_spam
    source = raw_file(stage.raw, "SMSSpamCollection")
    stage.use_dataset(source, "split")
    messages = read_messages(source, params.recipe)
    split = split_messages(messages, **params.model_dump())
    statistics = {**stage.data_facts(), "recipe": params.recipe, **split_statistics(messages, split)}
    with new_folder(stage.root / "data" / "spam") as folder:
        for name, part in split.parts().items():
            write_text(folder / f"{name}.csv", part.to_csv(index=False, lineterminator="\n"))
    write_json(stage.metrics / "split_spam.json", statistics)
    for name, counts in statistics["splits"].items():
        stage.run.metrics({f"{name}_{key}": count for key, count in counts.items()})
    stage.run.artifact(stage.metrics / "split_spam.json")


if __name__ == "__main__":
    run_stage("split_spam", ROOT, split_spam)
