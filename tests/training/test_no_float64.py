"""Apple's MPS has no float64: nothing on the model's device is ever of that type; on the host it may be."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from gpt_from_scratch.data.instructions.preferences import Pair, collate_pairs
from gpt_from_scratch.evaluation.language import token_loss
from gpt_from_scratch.generation import Sampling, generate
from gpt_from_scratch.generation.classifying import probabilities
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.heads import set_classification_head
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.preferences import PreferenceTuning, reference_log_probabilities, reward_scores
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.tasks import Classification, LanguageModelling
from gpt_from_scratch.weights.classifier import ClassifierInfo

CPU, END = torch.device("cpu"), 49
SHAPE = {"vocab_size": 50, "context_length": 16, "emb_dim": 16, "n_heads": 2, "n_layers": 2, "drop_rate": 0.0}


class Host(torch.Tensor):
    """A tensor that was copied to the host: here, where all devices are the CPU, a mark."""


class Traced(TorchFunctionMode):
    """Takes every float64 tensor for a fault that comes of others than the host's."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if getattr(function, "__name__", "") == "cpu":
            return result.as_subclass(Host)
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor) and one.dtype == torch.float64:
                assert any(isinstance(value, Host) for value in args), f"{function} makes float64 on the device"
        return result


@pytest.fixture
def model() -> GPTModel:
    torch.manual_seed(1)
    return GPTModel(GPTConfig(**SHAPE))


def batch_of_pairs(model: GPTModel) -> Any:
    """Return four pairs with the log-probabilities of a reference, which is the model itself."""
    nan = torch.full((2,), torch.nan)
    pairs = [Pair(([n, 1, 2], [n, 3, 4, 5]), (1, 1), nan) for n in range(1, 5)]
    reference = reference_log_probabilities(model, [collate_pairs(pairs, END, 8)], CPU)
    pairs = [pair._replace(reference=row) for pair, row in zip(pairs, reference, strict=True)]
    return collate_pairs(pairs, END, 8)


def step(task: Any, model: GPTModel, batch: Any) -> None:
    optimizer = build_optimizer(model, 1e-3, 0.1)
    task.loss(model, batch, CPU).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def test_the_trace_sees_float64_on_the_device() -> None:
    with Traced(), pytest.raises(AssertionError, match="makes float64 on the device"):
        torch.ones(2).double()
    with Traced():
        assert torch.ones(2).cpu().double().dtype == torch.float64


def test_preference_tuning(model) -> None:
    with Traced():
        batch = batch_of_pairs(model)
        found = reward_scores(PreferenceTuning(0.1), model, [batch], Evaluator(CPU))
        step(PreferenceTuning(0.1), model, batch)
    assert found["reward_margin"] == pytest.approx(0.0, abs=1e-6)  # the model is its own reference


def test_labelling_and_generation(model) -> None:
    classifier = copy.deepcopy(model)
    set_classification_head(classifier, 2)
    info = ClassifierInfo(labels=("a", "b"), max_length=8, pad_id=END, deciding_token="last")
    with Traced():
        probabilities(classifier.eval(), info, [[1, 2], [3]])
        generate(model.eval(), [[1, 2]], 3, Sampling(0.7, 5, 1))
        token_loss(model.eval(), [(torch.ones(1, 4, dtype=torch.long),) * 2])


@pytest.mark.parametrize("task", [LanguageModelling(), Classification()])
def test_trainings(model, task) -> None:
    ids = torch.randint(1, END, (2, 8))
    if isinstance(task, Classification):
        set_classification_head(model, 2)
    with Traced():
        step(task, model, (ids, torch.tensor([0, 1]) if isinstance(task, Classification) else ids))
