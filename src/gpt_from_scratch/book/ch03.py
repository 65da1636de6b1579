"""Chapter 3: attention, from the simplest kind to many heads."""

from gpt_from_scratch.model.attention import MultiHeadAttention
from gpt_from_scratch.model.fast import PyTorchMultiHeadAttention
from gpt_from_scratch.model.stepping_stones import (
    CausalAttention,
    MultiHeadAttentionWrapper,
    SelfAttention_v1,
    SelfAttention_v2,
)

__all__ = [
    "CausalAttention",
    "MultiHeadAttention",
    "MultiHeadAttentionWrapper",
    "PyTorchMultiHeadAttention",
    "SelfAttention_v1",
    "SelfAttention_v2",
]
