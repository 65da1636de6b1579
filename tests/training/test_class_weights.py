"""A loss in which classes weigh differently: PyTorch's own, however the batch is divided."""

from __future__ import annotations

import copy

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from gpt_from_scratch.data.messages.messages import balanced_weights
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.tasks import Classification

CPU = torch.device("cpu")
LABELS = torch.tensor([0, 0, 0, 1, 0, 2, 0, 0, 1, 0, 0, 2])
WEIGHTS = torch.tensor([0.5, 2.0, 3.25])


class Linear(nn.Module):
    """Logits `[batch, 1, classes]` from four numbers for each example, in the place of a GPT."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(inputs)[:, None]


@pytest.fixture
def model():
    torch.manual_seed(1)
    return Linear()


@pytest.fixture
def inputs():
    return torch.randn(12, 4, generator=torch.Generator().manual_seed(2))


def test_the_loss_is_pytorchs_weighted_mean(model, inputs):
    found = Classification(class_weights=WEIGHTS).loss(model, (inputs, LABELS), CPU)
    each = -torch.log_softmax(model(inputs)[:, 0], dim=-1)[torch.arange(12), LABELS]
    by_hand = (WEIGHTS[LABELS] * each).sum() / WEIGHTS[LABELS].sum()
    torch.testing.assert_close(found, by_hand)
    torch.testing.assert_close(found, F.cross_entropy(model(inputs)[:, 0], LABELS, WEIGHTS), rtol=0, atol=0)
    assert found.item() != pytest.approx(Classification().loss(model, (inputs, LABELS), CPU).item(), rel=1e-3)


@pytest.mark.parametrize("parts", [2, 3, 4, 6])
def test_accumulated_batches_make_the_update_of_one_batch(model, inputs, parts):
    """No part has the mix of classes that the whole has: a mean of means would be another update."""
    task = Classification(class_weights=WEIGHTS)
    rows = 12 // parts
    pieces = [(inputs[at : at + rows], LABELS[at : at + rows]) for at in range(0, 12, rows)]
    whole = copy.deepcopy(model)
    F.cross_entropy(whole(inputs)[:, 0], LABELS, WEIGHTS).backward()
    steps = train(
        model,
        task,
        (pieces, []),
        torch.optim.SGD(model.parameters(), lr=1.0),
        LoopSettings(1, 10**9, 1, accumulation_steps=parts),
    )
    before = copy.deepcopy(model.state_dict())
    loss = next(record.value for record in steps if record.name == "loss")
    assert loss == pytest.approx(F.cross_entropy(whole(inputs)[:, 0], LABELS, WEIGHTS).item(), rel=1e-5)
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(before[name] - model.state_dict()[name], parameter.grad, rtol=1e-5, atol=1e-6)


def test_a_part_weighs_what_its_examples_do():
    task = Classification(class_weights=WEIGHTS)
    assert task.weight((torch.zeros(3, 4), torch.tensor([0, 1, 2]))) == pytest.approx(5.75)
    assert Classification().weight((torch.zeros(3, 4), torch.tensor([0, 1, 2]))) == 3


def test_trained_to_the_end_it_is_scikit_learns_balanced_classifier(model, inputs):
    """The minimum of the weighted loss, with the same penalty, is that of `class_weight="balanced"`."""
    penalty = 0.05
    task = Classification(class_weights=balanced_weights(LABELS, 3))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = task.loss(model, (inputs, LABELS), CPU) + penalty / 2 * model.head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    # Its loss is a sum, and balanced weights make 12 of 12 examples.
    expected = LogisticRegression(C=1 / (12 * penalty), class_weight="balanced", max_iter=5000, tol=1e-9)
    expected.fit(inputs.numpy(), LABELS.numpy())
    found = torch.softmax(model(inputs)[:, 0], dim=-1).detach().numpy()
    assert abs(found - expected.predict_proba(inputs.numpy())).max() < 2e-3
