"""Appendix A: the toy network, next to the reference's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from gpt_from_scratch.book import appendix_a

reference = pytest.importorskip("llms_from_scratch.appendix_a")

FEATURES = torch.tensor([[-1.2, 3.1], [-0.9, 2.9], [-0.5, 2.6], [2.3, -1.1], [2.7, -1.5]])
LABELS = torch.tensor([0, 0, 0, 1, 1])


def train(module):
    dataset = module.ToyDataset(FEATURES, LABELS)
    assert len(dataset) == 5
    torch.manual_seed(123)
    model = module.NeuralNetwork(num_inputs=2, num_outputs=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(3):
        for features, labels in DataLoader(dataset, batch_size=2, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            F.cross_entropy(model(features), labels).backward()
            optimizer.step()
    return model(FEATURES)


def test_training_gives_the_references_outputs():
    assert torch.equal(train(appendix_a), train(reference))


def test_the_books_outputs():
    # Section A.7 prints these after three epochs.
    expected = [[2.8569, -4.1618], [2.5382, -3.7548], [2.0944, -3.1820], [-1.4814, 1.4816], [-1.7176, 1.7342]]
    torch.testing.assert_close(train(appendix_a), torch.tensor(expected), atol=1e-4, rtol=0)
