"""The GPT model and its parts, by hand. Needs torch alone."""

from gpt_from_scratch.model.attention import MultiHeadAttention
from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.model.gpt import GPTModel, TransformerBlock
from gpt_from_scratch.model.kv_cache import KVCache
from gpt_from_scratch.model.layers import GELU, FeedForward, LayerNorm

__all__ = [
    "GELU",
    "GPT2_SIZES",
    "FeedForward",
    "GPTConfig",
    "GPTModel",
    "KVCache",
    "LayerNorm",
    "MultiHeadAttention",
    "TransformerBlock",
]
