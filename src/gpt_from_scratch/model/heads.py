"""Conversion of a language model into a classifier (chapter 6, section 6.5; the companion's additional experiments)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import nn

from gpt_from_scratch.model.gpt import GPTModel

Trainable = Literal["last_layer", "last_block", "last_two_blocks", "all"]


def set_classification_head(model: GPTModel, num_classes: int) -> None:
    """Replace the output head by a newly initialised linear layer with bias and one output per class."""
    model.out_head = nn.Linear(model.config.emb_dim, num_classes)


def set_causal(model: GPTModel, causal: bool) -> None:
    """Choose causal attention, or attention to the whole sequence, padding included. The weights stay."""
    model.config = replace(model.config, causal=causal)
    for block in model.trf_blocks:
        block.att.causal = causal


def train_only(model: GPTModel, trainable: Trainable) -> None:
    """Freeze all other parameters; for low-rank updates see `train_lora`.

    Args:
        trainable: `last_layer`, the output head alone; `last_block`, with it the final norm and the last transformer
            block (the book's choice); `last_two_blocks`; or `all`.
    """
    parts: list[nn.Module] = [model.out_head]
    if trainable == "all":
        parts = [model]
    elif trainable != "last_layer":
        blocks = 1 if trainable == "last_block" else 2
        parts += [model.final_norm, *list(model.trf_blocks)[-blocks:]]
    model.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
