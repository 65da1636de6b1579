"""Text as it is being written: whole characters, token by token."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence

import torch
from tiktoken import Encoding

from gpt_from_scratch.generation.engine import decode
from gpt_from_scratch.model import GPTModel

_UNKNOWN = "\N{REPLACEMENT CHARACTER}".encode()


def stream_text(
    model: GPTModel,
    tokenizer: Encoding,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[str]:
    """Continue a prompt and yield the new text piece by piece, until the model ends it.

    A token may hold a part of a character; it is kept back until the rest has come. Joined, the pieces are the text
    that `tokenizer.decode` gives for all new tokens.

    Args:
        prompt_ids: at least one token id; the model sees the last ones that fit its context.
        temperature, top_k, generator: see `next_token`.

    Raises:
        InputError: for an empty prompt.
    """
    characters = codecs.getincrementaldecoder("utf-8")("replace")
    prompt = list(prompt_ids)[-model.config.context_length :]
    for chosen in decode(model, [prompt], max_new_tokens, temperature=temperature, top_k=top_k, generator=generator):
        token = int(chosen)
        if token == tokenizer.eot_token:
            break
        if piece := characters.decode(token_bytes(tokenizer, token)):
            yield piece
    if rest := characters.decode(b"", final=True):
        yield rest


def token_bytes(tokenizer: Encoding, token: int) -> bytes:
    """Return a token's bytes; those of � for one that only the model has, whose vocabulary may be padded."""
    try:
        return tokenizer.decode_single_token_bytes(token)
    except KeyError:
        return _UNKNOWN


def text_of(tokenizer: Encoding, tokens: Sequence[int]) -> str:
    """Return the text of tokens, ids that only the model has included; see `token_bytes`."""
    return b"".join(token_bytes(tokenizer, token) for token in tokens).decode("utf-8", errors="replace")
