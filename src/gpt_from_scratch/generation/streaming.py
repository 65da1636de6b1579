"""Continuing a text token by token, for whoever wants to see it grow."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tiktoken import Encoding
from torch import Tensor

from gpt_from_scratch.generation.engine import decode_steps
from gpt_from_scratch.generation.sampling import token_probabilities
from gpt_from_scratch.model import GPTModel


@dataclass(frozen=True)
class Step:
    """One new token.

    Attributes:
        token: its id.
        text: what it adds to the text; nothing while a character that takes several tokens is unfinished.
        probabilities: what it was chosen from, `[vocab_size]`; see `token_probabilities`.
    """

    token: int
    text: str
    probabilities: Tensor


def stream_text(
    model: GPTModel,
    tokenizer: Encoding,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Continue a text; the last step is the token that ends it, or the last of `max_new_tokens`.

    All texts joined are `tokenizer.decode` of the new tokens, without that of the end.

    Args:
        prompt: token ids, at least one; of more than the model's context holds, it sees the last.
        temperature, top_k, generator: see `next_token`.
    """
    characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
    steps = decode_steps(model, [prompt], max_new_tokens, temperature=temperature, top_k=top_k, generator=generator)
    for number, (chosen, logits) in enumerate(steps, start=1):
        token = int(chosen)
        ended = token == tokenizer.eot_token
        new_bytes = b"" if ended else tokenizer.decode_single_token_bytes(token)
        text = characters.decode(new_bytes, final=ended or number == max_new_tokens)
        yield Step(token, text, token_probabilities(logits, temperature, top_k)[0])
        if ended:
            return
