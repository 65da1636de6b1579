"""Continuing a text: tokenizer and decoding together."""

from __future__ import annotations

from tiktoken import Encoding

from gpt_from_scratch.generation.engine import generate
from gpt_from_scratch.model import GPTModel


def continue_text(model: GPTModel, tokenizer: Encoding, prompt: str, max_new_tokens: int) -> str:
    """Return the prompt and its greedy continuation, which ends where the model ends the text.

    The prompt is cut on the left where it leaves no room in the model's context.
    """
    prompt_ids = tokenizer.encode(prompt, disallowed_special=())[-model.config.context_length :]
    (new_ids,) = generate(model, [prompt_ids], max_new_tokens, eos_id=tokenizer.eot_token)
    return prompt + tokenizer.decode(new_ids)
