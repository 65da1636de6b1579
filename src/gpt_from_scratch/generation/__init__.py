"""Writing text with a trained model: choosing the next token, and decoding with a KV cache. Needs torch alone."""

from gpt_from_scratch.generation.engine import decode, generate, generate_each
from gpt_from_scratch.generation.sampling import next_token

__all__ = ["decode", "generate", "generate_each", "next_token"]
