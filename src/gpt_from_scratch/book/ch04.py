"""Chapter 4: the GPT model and its first words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gpt_from_scratch.book.ch03 import MultiHeadAttention, PyTorchMultiHeadAttention
from gpt_from_scratch.generation import decode
from gpt_from_scratch.model.fast import FeedForwardFast, GPTModelFast, TransformerBlockFast
from gpt_from_scratch.model.gpt import GPTModel, TransformerBlock
from gpt_from_scratch.model.layers import GELU, FeedForward, LayerNorm
from gpt_from_scratch.model.stepping_stones import (
    DummyGPTModel,
    DummyLayerNorm,
    DummyTransformerBlock,
    ExampleDeepNeuralNetwork,
)

__all__ = [
    "GELU",
    "DummyGPTModel",
    "DummyLayerNorm",
    "DummyTransformerBlock",
    "ExampleDeepNeuralNetwork",
    "FeedForward",
    "FeedForwardFast",
    "GPTModel",
    "GPTModelFast",
    "LayerNorm",
    "MultiHeadAttention",
    "PyTorchMultiHeadAttention",
    "TransformerBlock",
    "TransformerBlockFast",
    "generate_text_simple",
]


def generate_text_simple(model: nn.Module, idx: Tensor, max_new_tokens: int, context_size: int) -> Tensor:
    """Continue token ids `[batch, tokens]` greedily by `max_new_tokens` and return all of them.

    The model sees the last `context_size` tokens at every step.
    """
    new = [chosen[:, None] for chosen in decode(model, idx, max_new_tokens, context_size=context_size)]
    return torch.cat([idx, *new], dim=1)
