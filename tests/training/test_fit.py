"""A whole training from its parameters."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.fit import fit, total_steps
from gpt_from_scratch.training.journal import Journal, Samples
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.optimizer import build_optimizer
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


@pytest.fixture
def params(root):
    return load_params(root / "profiles/quick.yaml").pretrain.model_copy(update={"epochs": 2, "eval_every": 3})


@pytest.fixture
def loaders():
    ids = torch.arange(26 * 8).reshape(26, 8) % 50
    data = TensorDataset(ids, (ids + 1) % 50)
    return DataLoader(data, batch_size=4, shuffle=True, drop_last=True), DataLoader(data, batch_size=4)


class Listener(Callback):
    def __init__(self):
        self.records, self.told, self.begun, self.closed = [], [], None, 0

    def log(self, record):
        self.records.append(record)

    def begin(self, steps):
        self.begun = steps

    def close(self):
        self.closed += 1


def run(params, loaders, listener):
    torch.manual_seed(1)
    model = GPTModel(CFG)
    samples = Samples("te", lambda: "text" if not model.training else "sampled while training", listener.told.append)
    journal = fit(model, LanguageModelling(), loaders, params, [listener, samples])
    assert samples.rows == listener.told
    return model, journal


def test_reports_what_happened(params, loaders):
    listener = Listener()
    _, journal = run(params, loaders, listener)
    metrics = journal.metrics()
    assert listener.begun == 12
    assert listener.closed == 1
    assert metrics["steps"] == total_steps(loaders[0], params) == 12
    assert metrics["seen"] == 12 * 32
    assert [row["step"] for row in journal.rows] == [0, 3, 6, 9]
    assert metrics["final"]["validation_loss"] < metrics["initial"]["validation_loss"]
    rows = [{"epoch": 1, "step": 5}, {"epoch": 2, "step": 11}]
    assert listener.told == [{**row, "prompt": "te", "text": "text"} for row in rows]
    assert sum(record.name == "loss" for record in listener.records) == 12
    learning_rates = [record.value for record in listener.records if record.name == "lr"]
    assert max(learning_rates) <= params.optimizer.lr
    assert learning_rates[-1] < learning_rates[4]


def test_same_seed_same_bits(params, loaders):
    (first, _), (second, _) = (run(params, loaders, Listener()) for _ in range(2))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_measuring_before_training_does_not_change_it(params, loaders):
    listener = Listener()
    run(params, loaders, listener)
    torch.manual_seed(1)
    model = GPTModel(CFG).train()
    first_batch = next(iter(loaders[0]))
    expected = LanguageModelling().loss(model, first_batch, torch.device("cpu")).item()
    assert listener.records[0].value == pytest.approx(expected, abs=1e-6)


def test_what_the_last_update_broke_is_noticed_by_its_evaluation(params, loaders):
    broken = {"max_steps": 1, "optimizer": {"lr": 1e20}, "schedule": {}}
    params = type(params).model_validate({**params.model_dump(), **broken})
    with pytest.raises(InputError, match=r"step 0, epoch 1: expected finite numbers, found train_loss nan at learning"):
        run(params, loaders, Listener())


def test_too_few_sequences_for_one_batch(params):
    loader = DataLoader(TensorDataset(torch.zeros(3, 8), torch.zeros(3, 8)), batch_size=8, drop_last=True)
    with pytest.raises(InputError, match="training set of 3 sequences: fewer than one batch of 8"):
        total_steps(loader, params)


def test_journal_of_nothing():
    assert Journal().metrics() == {"steps": 0, "seen": 0, "initial": {}}


def test_the_loop_yields_the_records_that_callbacks_hear(loaders):
    listener, model = Listener(), GPTModel(CFG)
    optimizer = build_optimizer(model, 1e-3, 0.1)
    settings = LoopSettings(epochs=1, eval_every=3)
    records = list(train(model, LanguageModelling(), loaders, optimizer, settings, callbacks=[listener]))
    assert records == listener.records
    assert records[-1].name == "epoch"
