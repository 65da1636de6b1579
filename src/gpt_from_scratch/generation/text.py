"""Continuation of a text: tokenizer and decoding together."""

from __future__ import annotations

from tiktoken import Encoding

from gpt_from_scratch.generation.engine import generate
from gpt_from_scratch.model import GPTModel


def continue_text(model: GPTModel, tokenizer: Encoding, prompt: str, max_new_tokens: int) -> str:
    """Return the prompt and its greedy continuation, up to the end-of-text token.

    If the prompt is longer than the model's context, the model sees the last tokens that fit; see `is_cut`.
    """
    prompt_ids = _encode(tokenizer, prompt)[-model.config.context_length :]
    (new_ids,) = generate(model, [prompt_ids], max_new_tokens, eos_id=tokenizer.eot_token)
    return prompt + tokenizer.decode(new_ids)


def is_cut(model: GPTModel, tokenizer: Encoding, prompt: str) -> bool:
    """Return whether `continue_text` cuts the prompt."""
    return len(_encode(tokenizer, prompt)) > model.config.context_length


def _encode(tokenizer: Encoding, prompt: str) -> list[int]:
    return tokenizer.encode(prompt, disallowed_special=())
