"""What is checked of the recipes of all trainings on a device; see `gpu_checks`. It needs the base install alone."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.book_run import BOOK, PROFILE, BookSizes, words, write_inputs
from gpt_from_scratch.experiments.settings import merged, raw_params
from gpt_from_scratch.files.writing import sha256, write_json
from gpt_from_scratch.recipes.classify import classify
from gpt_from_scratch.recipes.instruct import instruct
from gpt_from_scratch.recipes.pretrain import pretrain
from gpt_from_scratch.training.tracker import Tracker
from gpt_from_scratch.training.workspace import Workspace

from gpu_checks import tiny  # isort: skip

Recipe = Callable[[Workspace], None]
RECIPES: dict[str, tuple[Recipe, str, dict[str, Any]]] = {
    "pretrain": (pretrain, "pretrain", {}),
    "classify": (classify, "classifier", {"classify.trainable": "all", "classify.drop_rate": 0.1}),
    "the last block": (classify, "classifier", {}),
    "instruct": (instruct, "instruct", {"instruct.drop_rate": 0.1}),
    "preferences": (instruct, "instruct", {"instruct.objective": "preferences", "instruct.data": "data/pairs.json"}),
}
"""Each training's recipe, the folder of its model, and parameters that differ from the book's."""

SIZES = BookSizes(
    merges=400,
    base=tiny(context_length=128),
    text=400,
    messages=(24, 8, 8),
    message_tokens=10,
    entries=40,
    changes={
        **BOOK.changes,
        **{"pretrain.model.context_length": 32, "pretrain.stride": 32, "pretrain.model.emb_dim": 12},
        **{"pretrain.model.n_layers": 1, "pretrain.epochs": 1, "classify.epochs": 1, "instruct.epochs": 1},
        **{"pretrain.sample.tokens": 20, "instruct.max_length": 128, "instruct.sample_tokens": 20},
    },
)


class Watching(Tracker):
    """Notes at every update whether PyTorch runs deterministic algorithms alone."""

    def __init__(self) -> None:
        self.updates: list[bool] = []

    def log(self, record: Any) -> None:
        if record.name == "loss":
            self.updates.append(torch.are_deterministic_algorithms_enabled())


def run(name: str, device: torch.device, folder: Path) -> tuple[str, list[bool]]:
    """Run a recipe in a new folder on random words; return its model's hash, and what `Watching` noted."""
    recipe, model, changes = RECIPES[name]
    changes = {**SIZES.changes, **changes, "runtime.device": device.type}
    work = Workspace(folder, merged(raw_params(PROFILE), changes, "the checks"), Watching())
    write_inputs(work, SIZES)
    draw = random.Random(5)
    answers = [{"instruction": words(draw, 5), "chosen": words(draw, 6), "rejected": words(draw, 9)} for _ in range(40)]
    write_json(folder / "data/pairs.json", answers)
    recipe(work)
    return sha256(folder / "models" / model / "model.safetensors"), work.tracker.updates


def check_recipe(name: str, device: torch.device, folder: Path) -> None:
    """Check that a recipe runs deterministic algorithms alone at every update, and gives the same bits twice."""
    before = torch.are_deterministic_algorithms_enabled()
    found = []
    try:
        for number in range(2):
            # The recipe has to set both itself.
            torch.use_deterministic_algorithms(False)
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
            found.append(run(name, device, folder / str(number)))
            assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(before)
    (model, updates), (again, _) = found
    assert updates and all(updates), "an update without deterministic algorithms"
    assert again == model, "the same training gave other weights"
