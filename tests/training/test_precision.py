"""bf16 and compiled code: the losses of plain fp32, as near as they can be."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.heads import set_classification_head
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.precision import accelerated
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.tasks import Classification, LanguageModelling

CFG = {
    "vocab_size": 50,
    "context_length": 8,
    "emb_dim": 16,
    "n_heads": 2,
    "n_layers": 2,
    "drop_rate": 0.0,
    "qkv_bias": False,
}


@pytest.fixture
def losses(params, recorder):
    """Train from one seed; return the losses of updates and evaluations, and the model."""

    def losses(task=None, kernels="explicit", **changes):
        torch.manual_seed(1)
        model = GPTModel({**CFG, "kernels": kernels})
        ids = torch.randint(50, (26, 8))
        targets = (ids + 1) % 50
        if isinstance(task, Classification):
            set_classification_head(model, 2)
            targets = ids[:, -1] % 2
        data = TensorDataset(ids, targets)
        loaders = DataLoader(data, batch_size=4, shuffle=True, drop_last=True), DataLoader(data, batch_size=4)
        recorder.records.clear()
        asked = params.model_copy(update=changes)
        fit(model, task or LanguageModelling(), loaders, asked, [recorder])
        return torch.tensor([record.value for record in recorder.records if "loss" in record.name]), model

    return losses


@pytest.mark.parametrize("kernels", ["explicit", "fused"])
def test_bf16_gives_the_losses_of_fp32_within_its_precision(losses, kernels):
    plain, _ = losses(kernels=kernels)
    rough, model = losses(kernels=kernels, precision="bf16")
    difference = (rough / plain - 1).abs().max()
    assert 0 < difference < 2**-8  # bf16 keeps 8 bits
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_scores_are_bf16_too_and_the_caller_is_not():
    seen = []

    class Watched(Classification):
        def logits(self, model, inputs):
            seen.append(super().logits(model, inputs))
            return seen[-1]

    torch.manual_seed(1)
    model = GPTModel(CFG)
    set_classification_head(model, 2)
    data = DataLoader(TensorDataset(torch.randint(50, (4, 8)), torch.tensor([0, 1, 0, 1])), batch_size=4)
    for _ in accelerated(Watched(), "bf16").scores(model, (data, data), Evaluator(torch.device("cpu"))):
        assert not torch.is_autocast_enabled("cpu")
    assert {logits.dtype for logits in seen} == {torch.bfloat16}


@pytest.mark.parametrize("kernels", ["explicit", "fused"])
def test_compiling_leaves_the_losses(losses, monkeypatch, kernels):
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    (plain, _), (fast, _) = losses(kernels=kernels), losses(kernels=kernels, compile=True)
    torch.testing.assert_close(fast, plain, rtol=0, atol=0 if kernels == "explicit" else 1e-5)
    # One for training and one for evaluation, nowhere cut; a last, smaller batch may be a third and a fourth.
    assert 2 <= len(compiled) <= 4


@pytest.mark.slow
@pytest.mark.parametrize("task", [LanguageModelling(), Classification()], ids=["language", "classes"])
def test_compiled_code_gives_the_same_losses(losses, task):
    torch._dynamo.reset()
    plain, model = losses(task)
    fast, compiled = losses(task, compile=True)
    assert (fast - plain).abs().max() < 1e-5
    assert model.state_dict().keys() == compiled.state_dict().keys()


def test_nothing_asked_nothing_changed():
    task = LanguageModelling()
    assert accelerated(task) is task


def test_without_a_compiler_it_says_so(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match=r"compile: expected a C\+\+ compiler"):
        accelerated(LanguageModelling(), compiled=True)
