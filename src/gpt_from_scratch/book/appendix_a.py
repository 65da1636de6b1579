"""Appendix A: an introduction to PyTorch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.data import Dataset


class NeuralNetwork(nn.Module):
    """Two hidden layers of 30 and 20 units: `[batch, num_inputs]` → logits `[batch, num_outputs]`."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_inputs, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, num_outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ToyDataset(Dataset[tuple[Tensor, Tensor]]):
    """Rows of features `[examples, ...]` with their labels `[examples]`."""

    def __init__(self, X: Tensor, y: Tensor) -> None:
        self.features = X
        self.labels = y

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.features[index], self.labels[index]

    def __len__(self) -> int:
        return self.labels.shape[0]
