"""Preference tuning by DPO: the chosen answer made likelier than the rejected one (the companion's ch07/04).

Rafailov et al. 2023, *Direct Preference Optimization: Your Language Model is Secretly a Reward Model*, equation 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt_from_scratch.model.fast_path import FastPath
from gpt_from_scratch.training.batch import IGNORED, Batch, Loaders
from gpt_from_scratch.training.packing import pack
from gpt_from_scratch.training.precision import Precision, autocast
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.tasks import fused


class PreferenceTuning:
    """Preferring one answer to another: the task of a training on batches of `collate_pairs`.

    The loss of a pair is `-log sigmoid(r_chosen - r_rejected)`, where an answer's reward r is beta times how much
    likelier the model finds it than the reference model does. As in the book, an answer's log-probability is the
    *mean* over its tokens; the paper and TRL take the sum, which makes beta some twenty times as strong. The
    reference's log-probabilities come with the batch: see `reference_log_probabilities`.

    Args:
        beta: how much a reward counts; the smaller, the further the model may go from the reference.
    """

    def __init__(self, beta: float) -> None:
        self._beta = beta

    def rewards(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        """Return the rewards of the chosen and the rejected answer of each pair, `[pairs, 2]`."""
        inputs, targets, reference = (part.to(device) for part in batch)
        return self._beta * (log_probabilities(model, inputs, targets) - reference)

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        """Return the mean loss of the pairs, a scalar in nats."""
        chosen, rejected = self.rewards(model, batch, device).unbind(1)
        return -F.logsigmoid(chosen - rejected).mean()

    def count(self, batch: Batch) -> int:
        """Return the tokens of a batch, padding included, as everywhere."""
        return batch[0].numel()

    def weight(self, batch: Batch) -> int:
        """Return the pairs of a batch."""
        return len(batch[1])

    def scores(self, model: nn.Module, loaders: Loaders, evaluator: Evaluator) -> Iterator[tuple[str, float]]:
        """Yield of both splits the mean rewards, their margin, and the share of pairs whose chosen answer has more.

        The book's rewards are these without the factor beta. Before the training all of them are 0 but for rounding,
        so that the share then means nothing.
        """
        for name, loader in zip(("train", "validation"), loaders, strict=True):
            for score, value in reward_scores(self, model, loader, evaluator).items():
                yield f"{name}_{score}", value


def reward_scores(
    task: PreferenceTuning, model: nn.Module, loader: Iterable[Batch], evaluator: Evaluator
) -> dict[str, float]:
    """Return means over the pairs; NaN without any."""

    def measure(batch: Batch) -> tuple[float, ...]:
        chosen, rejected = task.rewards(model, batch, evaluator.device).cpu().double().unbind(1)  # MPS: no float64
        return len(chosen), (chosen > rejected).sum().item(), chosen.sum().item(), rejected.sum().item()

    results = evaluator.each(loader, measure)
    pairs, right, chosen, rejected = (sum(column) for column in zip(*results, strict=True)) if results else [0.0] * 4
    pairs = pairs or float("nan")
    return {
        "reward_accuracy": right / pairs,
        "reward_margin": (chosen - rejected) / pairs,
        "chosen_reward": chosen / pairs,
        "rejected_reward": rejected / pairs,
    }


def log_probabilities(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean log-probability of the learnt targets of every sequence, in nats, `[pairs, 2]`.

    A model with `kernels="fused"` computes on a CPU no padding, and logits for learnt targets alone, except where it
    is compiled; see `LanguageModelling`.

    Args:
        inputs, targets: `[pairs, 2, tokens]`; each sequence has a learnt target.
    """
    shape = inputs.shape[:2]
    inputs, targets = inputs.flatten(0, 1), targets.flatten(0, 1)
    learnt = targets != IGNORED
    if torch.compiler.is_compiling() or inputs.device.type != "cpu" or not fused(model):
        losses = F.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten(), reduction="none")
        return (-losses.view(targets.shape).sum(1) / learnt.sum(1)).view(shape)
    counts = learnt.sum(1).tolist()
    inputs, targets, lengths = pack(inputs, targets, IGNORED)
    learnt = targets != IGNORED
    logits = model(inputs, fast=FastPath(lengths, wanted=learnt))
    losses = F.cross_entropy(logits.float(), targets[learnt], reduction="none")
    return torch.stack([-part.mean() for part in losses.split(counts)]).view(shape)


@torch.no_grad()
def reference_log_probabilities(
    model: nn.Module, batches: Iterable[Batch], device: torch.device, precision: Precision = "fp32"
) -> Tensor:
    """Return `log_probabilities` of all batches' pairs, `[all pairs, 2]`: those of the model that a tuning starts from.

    They never change, since the reference model is frozen and has no dropout: computed once, they spare a second
    model in memory. Draws no random numbers; the model is left in the mode that it was in.
    """
    mode = model.training
    model.eval()
    with autocast(precision, device):
        found = [log_probabilities(model, *(part.to(device) for part in batch[:2])).cpu() for batch in batches]
    model.train(mode)
    return torch.cat(found)
