"""Cached activations of the leading blocks that a training leaves frozen, computed once for every example.

Embeddings and frozen blocks give the same activations for the same tokens in every epoch and every evaluation. In
chapter 6 they are 11 of 12 blocks of the work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from gpt_from_scratch.model.fast_path import FastPath
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.model.sequences import DecidingToken, Sequences, first_tokens

log = logging.getLogger(__name__)

Examples = Dataset[tuple[Tensor, Tensor]]
"""Token ids `[tokens]`, or activations `[tokens, emb_dim]`, each with a label, a scalar."""

PASS_TOKENS = 1024
"""Tokens that go through the blocks together, as many as stay in a processor's cache meanwhile."""


def frozen_blocks(model: GPTModel) -> int:
    """Return how many leading blocks no training changes; 0 as well where an embedding is trained."""
    if _trained(model.tok_emb) or _trained(model.pos_emb):
        return 0
    return next((number for number, block in enumerate(model.trf_blocks) if _trained(block)), len(model.trf_blocks))


def keep_frozen_prefix(
    model: GPTModel,
    sets: Sequence[Examples],
    room: float,
    tell: Callable[[int], object] = lambda examples: None,
    deciding_token: DecidingToken = "last",
) -> tuple[list[Examples], int]:
    """Compute the activations after the frozen blocks for every example, where they are the same each time.

    They are not where dropout is at work. Draws no random numbers.

    Args:
        model: on any device; the activations are kept in the CPU's memory.
        sets: token ids and labels.
        room: memory limit of the activations, bytes.
        tell: takes the number of examples of every pass.
        deciding_token: the position whose logits are classified, which decides the positions that are kept; see
            `CachedActivations`.

    Returns:
        The splits with activations in the place of token ids, and the block that these enter:
        `Classification(first_block)` takes them as `Sequences`. Or the splits as they were, and 0.
    """
    blocks = frozen_blocks(model)
    if blocks == 0 or any(model.config.drop_rates):
        return list(sets), 0
    lengths = [[len(ids) for ids, _ in _each(examples)] for examples in sets]
    if _one_state(model, blocks, deciding_token):
        lengths = [[1] * len(part) for part in lengths]
    size = sum(map(sum, lengths)) * model.config.emb_dim * model.pos_emb.weight.element_size()
    if size > room:
        log.info(
            "the activations after %d frozen blocks would take %.1f GB, more than %.1f GB: computing them every time",
            blocks,
            size / 1e9,
            room / 1e9,
        )
        return list(sets), 0
    parts = zip(sets, lengths, strict=True)
    return [
        CachedActivations(_states(model, examples, blocks, sum(part), tell, deciding_token), part, examples)
        for examples, part in parts
    ], blocks


class CachedActivations(Examples):
    """Examples as the activations that enter the first trained block.

    Those of the deciding token alone are kept where no other matters later: where all blocks are frozen and one token
    decides, and where that is the first, which attends to no other. Else each token's are.

    Args:
        states: activations of all examples, one behind the other, `[all tokens, emb_dim]`.
        lengths: number of positions kept of each example.
        examples: source of the labels.
    """

    def __init__(self, states: Tensor, lengths: Sequence[int], examples: Examples) -> None:
        self._states = states.split(list(lengths))
        self._labels = [label for _, label in _each(examples)]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return activations `[tokens, emb_dim]` and the label, a scalar."""
        return self._states[index], self._labels[index]


def _one_state(model: GPTModel, blocks: int, deciding_token: DecidingToken) -> bool:
    if deciding_token == "first" and model.config.causal:
        return True
    return deciding_token != "mean" and blocks == len(model.trf_blocks)


@torch.no_grad()
def _states(
    model: GPTModel,
    examples: Examples,
    blocks: int,
    tokens: int,
    tell: Callable[[int], object],
    deciding_token: DecidingToken,
) -> Tensor:
    weight = model.pos_emb.weight
    kept = torch.empty(tokens, model.config.emb_dim, dtype=weight.dtype)
    end = 0
    first = deciding_token == "first"
    sees_none = first and model.config.causal
    for group in _passes(examples):
        batch = Sequences.of([ids[:1] for ids in group] if sees_none else group).to(weight.device)
        fast = FastPath(batch.lengths, last_only=deciding_token in ("last", "last_real"))
        x = model.run_blocks(model.embed(batch.values, fast=fast), range(blocks), fast=fast)
        if first and _one_state(model, blocks, deciding_token):
            x = first_tokens(x, batch.lengths)
        start, end = end, end + x.shape[1]
        kept[start:end] = x[0]
        tell(len(batch))
    return kept


def _passes(examples: Examples) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    for ids, _ in _each(examples):
        if group and sum(map(len, group)) + len(ids) > PASS_TOKENS:
            yield group
            group = []
        group.append(ids)
    if group:
        yield group


def _each(examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
    # Not by a DataLoader, which draws a random number.
    return (examples[index] for index in range(len(examples)))


def _trained(part: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())
