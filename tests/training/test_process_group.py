"""Trainings that several processes share: the losses of one process, and the same place to go on from."""

from __future__ import annotations

import json
from itertools import pairwise
from multiprocessing import get_context

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.data.instructions.loaders import instruction_loaders, preference_loaders
from gpt_from_scratch.data.instructions.preferences import Pair, collate_pairs
from gpt_from_scratch.data.messages.loaders import message_loaders
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.heads import set_classification_head, train_only
from gpt_from_scratch.model.lora import train_lora
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.frozen_prefix import keep_frozen_prefix
from gpt_from_scratch.training.preferences import PreferenceTuning, reference_log_probabilities
from gpt_from_scratch.training.process_group import ALONE, joined
from gpt_from_scratch.training.ranks import Place
from gpt_from_scratch.training.resuming import Saver
from gpt_from_scratch.training.tasks import Classification, LanguageModelling

CPU = torch.device("cpu")
CFG = {
    "vocab_size": 50,
    "context_length": 16,
    "emb_dim": 16,
    "n_heads": 2,
    "n_layers": 2,
    "drop_rate": 0.0,
    "qkv_bias": False,  # a bias of the keys has no gradient but rounding, which AdamW makes large
    "kernels": "fused",
}
TASKS = ("language", "messages", "weighed", "kept", "instructions", "preferences", "lora")
SCORES = ("train_accuracy", "train_reward_margin", "validation_chosen_reward")


class Losses(Callback):
    """Keeps what a training measures, but not how long it takes."""

    def __init__(self):
        self.found = {}

    def log(self, record):
        if record.name in ("loss", "grad_norm", "train_loss", "validation_loss", *SCORES):
            self.found[f"{record.step} {record.name}"] = record.value


class Entries(list):
    max_length = 16


def entries(number):
    generator = torch.Generator().manual_seed(number)
    lengths = torch.randint(3, 12, (number,), generator=generator).tolist()
    return Entries(torch.randint(1, 49, (length,), generator=generator).tolist() for length in lengths)


def answered(model, number):
    """Return pairs of answers, with what the model makes of them."""
    questions = entries(number)
    found = [Pair((a, b[: len(b) // 2 + 2]), (1, 1), torch.zeros(2)) for a, b in pairwise(questions)]
    reference = reference_log_probabilities(model, [collate_pairs(found, 49)], CPU)
    return Entries(pair._replace(reference=row) for pair, row in zip(found, reference, strict=True))


def small_training(root, name, epochs=1, accumulation_steps=1, keep="last", kind="adamw"):
    """Return model, task, loaders and settings of a training with batches of 5, which two cannot share evenly."""
    torch.manual_seed(1)
    model = GPTModel(CFG)
    if name == "instructions":
        task, loaders = LanguageModelling(), instruction_loaders(entries(23), entries(9), 5, pad_id=49)
    elif name == "preferences":
        task = PreferenceTuning(0.3)
        loaders = preference_loaders(answered(model, 24), answered(model, 10), 5, pad_id=49)
    elif name in ("language", "lora"):
        if name == "lora":
            train_lora(model, rank=2, alpha=4)
        ids = torch.arange(26 * 8).reshape(26, 8) % 50
        data = TensorDataset(ids, (ids + 1) % 50)
        task = LanguageModelling()
        loaders = DataLoader(data, batch_size=5, shuffle=True, drop_last=True), DataLoader(data, batch_size=5)
    else:
        set_classification_head(model, 2)
        train_only(model, "last_block")
        ids = torch.randint(50, (24, 9), generator=torch.Generator().manual_seed(2))
        sets, first_block = [TensorDataset(ids, ids[:, 3] % 2), TensorDataset(ids[:9], ids[:9, 3] % 2)], 0
        if name == "kept":
            sets, first_block = keep_frozen_prefix(model, sets, 1e9)
        weights = torch.tensor([0.3, 2.0]) if name == "weighed" else None
        task, loaders = Classification(first_block, weights), message_loaders(*sets, 5, padded=not first_block)
    changes = {"epochs": epochs, "eval_every": 2, "batch_size": 5, "accumulation_steps": accumulation_steps}
    params = load_params(root / "profiles/quick.yaml").pretrain
    schedule = params.schedule.model_copy(update={"kind": "constant"})
    optimizer = params.optimizer.model_copy(update={"decay": "matrices"} if keep == "best" else {"kind": kind})
    changes |= {"schedule": schedule, "optimizer": optimizer, "keep": keep}
    return model, task, loaders, params.model_copy(update=changes)


def losses(root, name, group=ALONE, saver=None, **changes):
    """Train, and return what was measured and what was trained."""
    model, task, loaders, params = small_training(root, name, **changes)
    listener = Losses()
    torch.manual_seed(3)
    fit(model, task, loaders, params, [listener], initial_batches=2, saver=saver, group=group)
    if saver is not None:
        saver.save()
    weights = {key: value.tolist() for key, value in model.state_dict().items()} if group.first else {}
    return {"losses": listener.found, "weights": weights}


def one_of_two(rank, root, folder, sharding):
    """Do every training as one of two processes; the first writes what came out."""
    torch.set_num_threads(1)
    runtime = load_params(root / "profiles/quick.yaml").runtime.model_copy(update={"sharding": sharding})
    with joined(Place(rank, 2, rank, 2, str(folder / "rendezvous")), runtime) as group:
        found = {name: losses(root, name, group) for name in TASKS}
        found["accumulated"] = losses(root, "instructions", group, accumulation_steps=2)
        found["preferences accumulated"] = losses(root, "preferences", group, accumulation_steps=2)
        found["best"] = losses(root, "language", group, epochs=2, keep="best")
        if sharding == "none":
            found["muon"] = losses(root, "language", group, kind="muon")
        saver = Saver(Checkpoints(folder / "by two"), 1e9, group=group)
        found["begun"] = losses(root, "language", group, saver)
        saver = Saver(Checkpoints(folder / "by one"), 1e9, group=group)
        found["gone on"] = losses(root, "language", group, saver, epochs=2)
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))


@pytest.fixture(scope="module", params=["none", pytest.param("full", marks=pytest.mark.slow)])
def two(request, root, tmp_path_factory):
    """What two processes found, and the folder of their checkpoints."""
    folder = tmp_path_factory.mktemp("two")
    losses(root, "language", saver=Saver(Checkpoints(folder / "by one"), 1e9))
    context = get_context("spawn")
    processes = [context.Process(target=one_of_two, args=(rank, root, folder, request.param)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    return json.loads((folder / "found.json").read_text()), folder


def assert_equal(ours, other):
    assert ours["losses"].keys() == other["losses"].keys()
    assert any(key.endswith("validation_loss") for key in ours["losses"])
    for key, value in other["losses"].items():
        assert ours["losses"][key] == pytest.approx(value, rel=1e-5, abs=1e-6), key
    for key, value in other["weights"].items():
        torch.testing.assert_close(torch.tensor(ours["weights"][key]), torch.tensor(value), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_the_losses_are_those_of_one_process(two, root, name):
    assert_equal(two[0][name], losses(root, name))


def test_with_accumulation(two, root):
    assert_equal(two[0]["accumulated"], losses(root, "instructions", accumulation_steps=2))
    assert_equal(two[0]["preferences accumulated"], losses(root, "preferences", accumulation_steps=2))


def test_the_best_weights(two, root):
    assert_equal(two[0]["best"], losses(root, "language", epochs=2, keep="best"))


def test_muon(two, root):
    if "muon" not in two[0]:
        pytest.skip("refused with sharded weights")
    assert_equal(two[0]["muon"], losses(root, "language", kind="muon"))


def test_one_goes_on_where_two_stopped(two, root):
    found, folder = two
    whole = losses(root, "language", epochs=2)
    saver = Saver(Checkpoints(folder / "by two"), 1e9)
    assert saver.found.step == 4
    rest = losses(root, "language", saver=saver, epochs=2)
    assert_equal({**rest, "losses": {**found["begun"]["losses"], **rest["losses"]}}, whole)


def test_two_go_on_where_one_stopped(two, root):
    whole = losses(root, "language", epochs=2)
    rest = two[0]["gone on"]
    kept = {key: value for key, value in whole["losses"].items() if key in rest["losses"]}
    assert len(kept) > 10
    assert_equal(rest, {**whole, "losses": kept})
