"""DPO: the losses of an independent computation at every update, the rewards, and all that the one loop promises."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.utils.data import DataLoader

from gpt_from_scratch.data.instructions.loaders import preference_loaders
from gpt_from_scratch.data.instructions.preferences import Pair, collate_pairs
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.checkpoint import Checkpoints
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.preferences import PreferenceTuning, reference_log_probabilities, reward_scores
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.resuming import Saver

CPU = torch.device("cpu")
CFG = {
    "vocab_size": 50,
    "context_length": 16,
    "emb_dim": 16,
    "n_heads": 2,
    "n_layers": 2,
    "drop_rate": 0.0,
    "qkv_bias": False,
}
END = 49
BETA = 0.3
SCORES = ("reward_accuracy", "reward_margin", "chosen_reward", "rejected_reward")


@pytest.fixture(autouse=True)
def _one_thread(_two_threads):
    torch.set_num_threads(1)  # for matrices this small, two only wait for each other


class Pairs(list):
    max_length = 14


def pairs(number):
    """Random pairs: a prompt of 2 to 5 tokens, answers of 2 to 12, of which the longest are cut."""
    generator = torch.Generator().manual_seed(number)

    def ids(low, high):
        length = int(torch.randint(low, high, (), generator=generator))
        return torch.randint(1, END, (length,), generator=generator).tolist()

    found = Pairs()
    for _ in range(number):
        prompt = ids(2, 6)
        sequences = prompt + ids(2, 13), prompt + ids(2, 13)
        found.append(Pair(sequences, (len(prompt), len(prompt)), torch.full((2,), torch.nan)))
    return found


def with_reference(model, found):
    batches = [collate_pairs(found[start : start + 4], END, found.max_length) for start in range(0, len(found), 4)]
    reference = reference_log_probabilities(model, batches, CPU)
    return Pairs(pair._replace(reference=row) for pair, row in zip(found, reference, strict=True))


def by_hand(model, pair):
    """The mean log-probability of both answers' tokens: each sequence alone, without padding, from plain logits."""
    means = []
    for ids, begin in zip(pair.sequences, pair.begins, strict=True):
        ids = ids[: Pairs.max_length + 1]
        log_probabilities = torch.log_softmax(model(torch.tensor([ids[:-1]]))[0].double(), dim=-1)
        means.append(
            sum(log_probabilities[place - 1, ids[place]] for place in range(begin, len(ids))) / (len(ids) - begin)
        )
    return torch.stack(means)


def loss_by_hand(model, frozen, batch):
    losses = []
    for pair in batch:
        (chosen, rejected), (old_chosen, old_rejected) = by_hand(model, pair), by_hand(frozen, pair).detach()
        losses.append(-torch.log(torch.sigmoid(BETA * ((chosen - old_chosen) - (rejected - old_rejected)))))
    return torch.stack(losses).mean()


@pytest.fixture(params=["explicit", "fused"])
def model(request):
    torch.manual_seed(1)
    return GPTModel({**CFG, "kernels": request.param})


def losses_of(model, loader, updates, **options):
    records = train(
        model,
        PreferenceTuning(BETA),
        (loader, loader),
        build_optimizer(model, 5e-3, 0.1),
        LoopSettings(1, 10**6, 1, **options),
    )
    losses = [record.value for record in records if record.name == "loss"]
    assert len(losses) == updates
    return losses


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_the_loss_of_every_update_is_that_of_an_independent_computation(model, accumulation_steps):
    frozen, other = copy.deepcopy(model), copy.deepcopy(model)
    found = with_reference(model, pairs(24))
    size = 4 // accumulation_steps
    loader = DataLoader(found, batch_size=size, collate_fn=lambda batch: collate_pairs(batch, END, found.max_length))
    losses = losses_of(model, loader, 6, accumulation_steps=accumulation_steps)
    optimizer = torch.optim.AdamW(other.parameters(), lr=5e-3, weight_decay=0.1)
    for number, loss in enumerate(losses):
        expected = loss_by_hand(other, frozen, found[4 * number : 4 * number + 4])
        assert loss == pytest.approx(expected.item(), abs=1e-5), number
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert abs(losses[-1] - losses[0]) > 1e-3  # or nothing was learnt that could differ


def test_what_is_learnt_is_preferred(model):
    found = with_reference(model, pairs(8))
    loader = DataLoader(found, batch_size=4, collate_fn=lambda batch: collate_pairs(batch, END, found.max_length))
    before = reward_scores(PreferenceTuning(BETA), model, loader, Evaluator(CPU))
    assert before["chosen_reward"] == pytest.approx(0, abs=1e-6)
    for _ in range(10):
        losses_of(model, loader, 2)
    after = reward_scores(PreferenceTuning(BETA), model, loader, Evaluator(CPU))
    assert after["reward_accuracy"] == 1.0
    assert after["reward_margin"] > 0.05


def test_the_scores_are_those_of_the_pairs_one_by_one(model):
    frozen = copy.deepcopy(model)
    found = with_reference(model, pairs(7))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    loader = DataLoader(found, batch_size=3, collate_fn=lambda batch: collate_pairs(batch, END, found.max_length))
    scores = dict(PreferenceTuning(BETA).scores(model.eval(), (loader, loader), Evaluator(CPU)))
    rewards = torch.stack([BETA * (by_hand(model, pair) - by_hand(frozen, pair)) for pair in found]).detach()
    chosen, rejected = rewards.unbind(1)
    expected = [(chosen > rejected).double().mean(), (chosen - rejected).mean(), chosen.mean(), rejected.mean()]
    assert 0 < expected[0] < 1
    for name, value in zip(SCORES, expected, strict=True):
        assert scores[f"train_{name}"] == scores[f"validation_{name}"] == pytest.approx(value.item(), abs=1e-5)


def test_the_reference_knows_no_dropout_and_draws_no_random_number(model):
    found = pairs(5)
    plain = torch.stack([pair.reference for pair in with_reference(model.eval(), found)])
    dropping = GPTModel({**CFG, "drop_rate": 0.5, "kernels": "fused"}).train()
    dropping.load_state_dict(model.state_dict())
    state = torch.get_rng_state()
    kept = torch.stack([pair.reference for pair in with_reference(dropping, found)])
    assert torch.equal(torch.get_rng_state(), state)
    assert dropping.training
    torch.testing.assert_close(kept, plain, rtol=1e-5, atol=1e-6)


def test_no_padding_is_computed_where_the_kernels_are_fused():
    torch.manual_seed(1)
    model = GPTModel({**CFG, "kernels": "fused"})
    found, seen = pairs(6), []
    model.trf_blocks[0].register_forward_hook(lambda module, args, out: seen.append(out.shape[:2]))
    model.out_head.register_forward_hook(lambda module, args, out: seen.append(out.shape[:1]))
    inputs, targets, reference = collate_pairs(found, END, found.max_length)
    PreferenceTuning(BETA).loss(model, (inputs, targets, reference), CPU)
    last = [min(len(ids) - 1, found.max_length) for pair in found for ids in pair.sequences]
    learnt = int((targets != -100).sum())
    assert seen == [(1, sum(last)), (learnt,)]
    assert learnt < sum(last) < inputs.numel()


class Interruption(BaseException):
    pass


class After(Callback):
    def __init__(self, step):
        self.step = step

    def log(self, record):
        if (record.step, record.name) == (self.step, "loss"):
            raise Interruption


def tuned(root, folder=None, callbacks=()):
    """Tune for two epochs of three updates, or go on with it, as the stage does: the reference is computed anew."""
    torch.manual_seed(1)
    model = GPTModel({**CFG, "kernels": "fused"})
    sets = [with_reference(model, pairs(number)) for number in (13, 5)]
    params = load_params(root / "profiles/quick.yaml").instruct
    params = params.model_copy(update={"epochs": 2, "eval_every": 2, "batch_size": 4})
    loaders = preference_loaders(*sets, 4, END)
    saver = None if folder is None else Saver(Checkpoints(folder), 0)
    torch.manual_seed(3)
    result = fit(model, PreferenceTuning(0.1), loaders, params, callbacks, initial_batches=2, saver=saver)
    return model, result


@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_tuning_that_was_ended_goes_on_to_the_same_bits(root, tmp_path, step):
    model, whole = tuned(root)
    with pytest.raises(Interruption):
        tuned(root, tmp_path, [After(step)])
    again, rest = tuned(root, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert rest.metrics() == whole.metrics()
    assert rest.scores == whole.scores


def test_the_scores_stand_in_the_metrics_before_and_after_every_epoch(root):
    _, result = tuned(root)
    names = {f"{part}_{name}" for part in ("train", "validation") for name in SCORES}
    assert names == set(result.metrics()["last_epoch"])
    assert names < set(result.metrics()["initial"])
    assert result.metrics()["initial"]["train_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert [row["epoch"] for row in result.scores] == [1, 2]


def test_bf16_starts_at_the_same_loss(model):
    found = pairs(4)
    batch = collate_pairs(found, END, found.max_length)
    reference = reference_log_probabilities(model, [batch], CPU, "bf16")
    assert not torch.equal(reference, reference_log_probabilities(model, [batch], CPU))
    with torch.autocast("cpu", torch.bfloat16):
        loss = PreferenceTuning(BETA).loss(model, (*batch[:2], reference), CPU)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
