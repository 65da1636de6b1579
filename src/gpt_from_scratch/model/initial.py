"""GPT-2's initial weights, for trainings from scratch (Radford et al. 2019; `model.py` of OpenAI's gpt-2)."""

from __future__ import annotations

import math

from torch import nn

from gpt_from_scratch.model.gpt import GPTModel

DEVIATION, OF_POSITIONS = 0.02, 0.01


def draw_gpt2_weights(model: GPTModel) -> None:
    """Draw every weight anew, from PyTorch's global generator.

    Matrices and token embeddings are normal with a deviation of 0.02, position embeddings of 0.01; the last layer of
    each residual branch is scaled by 1/√(2·layers), so that the sum of all branches keeps its size. Biases are 0. The
    book keeps PyTorch's defaults instead, under which embeddings have a deviation of 1: too much for an output head
    that shares their matrix.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(model.pos_emb.weight, std=OF_POSITIONS)
    nn.init.normal_(model.tok_emb.weight, std=DEVIATION)  # after the head, whose matrix it may be
    scale = 1.0 / math.sqrt(2 * len(model.trf_blocks))
    for block in model.trf_blocks:
        for last in (block.att.out_proj, block.ff.layers[-1]):
            last.weight.data.mul_(scale)
