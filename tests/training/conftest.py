"""A training so small that it takes a fraction of a second, with everything that can make a resumed one differ."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.generation import generate
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.journal import Samples
from gpt_from_scratch.training.process_group import ALONE
from gpt_from_scratch.training.resuming import Saver
from gpt_from_scratch.training.tasks import LanguageModelling

CFG = {
    "vocab_size": 50,
    "context_length": 8,
    "emb_dim": 16,
    "n_heads": 2,
    "n_layers": 1,
    "drop_rate": 0.1,
    "qkv_bias": False,
}


class Recorder(Callback):
    """Keeps the records of a training."""

    def __init__(self):
        self.records = []

    def log(self, record):
        self.records.append(record)


class SmallTraining:
    """A training with dropout, shuffling, a schedule and clipping; 12 updates in two epochs."""

    def __init__(self, params, folder):
        self.params, self.folder = params, folder

    def run(self, *, every_seconds=None, callbacks=(), task=None, saver=None, group=ALONE, change=lambda model: None):
        """Train from the seed, or on from what `folder` holds; return model, journal and samples."""
        ids = torch.arange(26 * 8).reshape(26, 8) % 50
        data = TensorDataset(ids, (ids + 1) % 50)
        size = self.params.batch_size
        loaders = DataLoader(data, batch_size=size, shuffle=True, drop_last=True), DataLoader(data, batch_size=size)
        torch.manual_seed(1)
        model = GPTModel(CFG)
        change(model)
        if saver is None and every_seconds is not None:
            saver = Saver(Checkpoints(self.folder), every_seconds)
        samples = Samples("", lambda: str(generate(model, [[1, 2]], 4)))
        task = task or LanguageModelling()
        journal = fit(model, task, loaders, self.params, [*callbacks, samples], saver=saver, group=group)
        return model, journal, samples


@pytest.fixture(scope="session")
def params(root):
    """Small settings with the schedule of appendix D."""
    section = load_params(root / "profiles/quick.yaml").pretrain
    optimizer = section.optimizer.model_copy(update={"lr": 0.002})
    return section.model_copy(update={"epochs": 2, "eval_every": 3, "batch_size": 4, "optimizer": optimizer})


@pytest.fixture
def training(params, tmp_path):
    """A small training whose checkpoints lie in `tmp_path`."""
    return SmallTraining(params, tmp_path / "checkpoints")


@pytest.fixture(scope="session")
def uninterrupted(params, tmp_path_factory):
    """Return a function that makes a small training which several tests compare theirs with."""
    return lambda: SmallTraining(params, tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture
def recorder():
    """A listener."""
    return Recorder()
