"""Generation of text: choosing the next token, and decoding with a KV cache. Needs torch alone."""

from gpt_from_scratch.generation.engine import decode, generate, generate_each
from gpt_from_scratch.generation.sampling import GREEDY, Sampling, next_token
from gpt_from_scratch.generation.stopping import Ending

__all__ = ["GREEDY", "Ending", "Sampling", "decode", "generate", "generate_each", "next_token"]
