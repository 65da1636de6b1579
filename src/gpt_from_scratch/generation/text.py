"""Continuing a text, and the rule for prompts that do not fit the model's context.

An answer has to fit behind its prompt, since the instruction stands at the beginning. A text that is continued may grow
past the context, and the model then sees its last tokens (the book's rule), but its prompt has to fit. A prompt that
does not is refused before anything is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation.engine import generate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiktoken import Encoding

    from gpt_from_scratch.model import GPTModel


def encode(tokenizer: Encoding, text: str) -> list[int]:
    """Return a text's token ids; special tokens in it are read as plain text."""
    return tokenizer.encode(text, disallowed_special=())


def check_room(
    prompt: Sequence[int],
    new_tokens: int,
    context_length: int,
    *,
    name: str = "prompt",
    cure: str = "shorten it",
    answer: bool = False,
) -> None:
    """Refuse a prompt that does not fit the model's context.

    Args:
        prompt: token ids.
        new_tokens: most tokens that are to follow.
        name, cure: what the message calls the prompt, and what to do.
        answer: the new tokens have to fit too.

    Raises:
        InputError: with the numbers, when it does not fit.
    """
    if len(prompt) + (new_tokens if answer else 0) > context_length:
        raise InputError(
            f"{name}: expected at most {context_length} tokens{' with the answer' if answer else ''}, the model's "
            f"context, found {len(prompt)} and {new_tokens} to generate; {cure}"
        )


def continue_text(model: GPTModel, tokenizer: Encoding, prompt: str, max_new_tokens: int) -> str:
    """Return the prompt and its greedy continuation, up to the end-of-text token.

    Raises:
        InputError: for a prompt that is longer than the model's context.
    """
    ids = encode(tokenizer, prompt)
    check_room(ids, max_new_tokens, model.config.context_length)
    (new_ids,) = generate(model, [ids], max_new_tokens, eos_id=tokenizer.eot_token)
    return prompt + tokenizer.decode(new_ids)
