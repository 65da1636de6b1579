"""The first updates of the profile quick's trainings: the stages' own recipes, without DVC and MLflow around them.

`PYTHONPATH=src:tests/pipeline python tests/pipeline/golden.py` prints the losses that `test_golden_losses.py` holds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from gpt_from_scratch.data.fetch.download import Downloads
from gpt_from_scratch.data.fetch.raw_data import fetch_raw_data
from gpt_from_scratch.data.messages.split import split_spam
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.recipes.classify import classify
from gpt_from_scratch.recipes.instruct import instruct
from gpt_from_scratch.recipes.pretrain import pretrain
from gpt_from_scratch.training.tracker import Tracker
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.bases import provide_bases

ROOT = Path(__file__).resolve().parents[2]
SHOWN = (0, 1, 4, 9, 14, 19)
"""The updates whose losses are held."""


class _Enough(Exception):
    """The last of the updates was made."""


class _Losses(Tracker):
    """A tracker that keeps the first losses, and then ends the training."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def log(self, record) -> None:
        if record.name == "loss" and record.step in SHOWN:
            self.losses.append(record.value)
            if record.step == SHOWN[-1]:
                raise _Enough


def losses() -> dict[str, list[float]]:
    """Return the training losses of the updates `SHOWN` of each training, on one thread.

    `frozen prefix` is the classifier of chapter 6, the last block trained alone: quick trains all blocks.
    """
    params = load_params(ROOT / "profiles/quick.yaml")
    chapter_6 = {"trainable": "last_block", "drop_rate": 0.0}
    frozen = params.model_copy(update={"classify": params.classify.model_copy(update=chapter_6)})
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            (root / "data").mkdir()
            (root / "data/sample").symlink_to(ROOT / "data/sample")
            nothing = Downloads(root, offline=True)
            fetch_raw_data("sample", root, nothing)
            split_spam(params.split_spam, params.classify.data, root)
            provide_bases(params, root, nothing)
            return {
                "pretrain": _first(pretrain, root, params),
                "classify": _first(classify, root, params),
                "frozen prefix": _first(classify, root, frozen),
                "instruct": _first(instruct, root, params),
            }
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def _first(recipe: Callable[[Workspace], None], root: Path, params: Params) -> list[float]:
    tracker = _Losses()
    with suppress(_Enough):
        recipe(Workspace(root, params, tracker))
    return tracker.losses


if __name__ == "__main__":
    print(torch.backends.cpu.get_cpu_capability(), json.dumps(losses()))
