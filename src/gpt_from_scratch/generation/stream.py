"""Text as it is being written: whole characters, token by token."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tiktoken import Encoding
from torch import Tensor

from gpt_from_scratch.generation.engine import decode_steps
from gpt_from_scratch.model import GPTModel

_UNKNOWN = "\N{REPLACEMENT CHARACTER}".encode()


@dataclass(frozen=True)
class Step:
    """One new token.

    Attributes:
        token: its id.
        text: what it adds to the text; nothing while a character is unfinished.
        logits: what it was chosen by, `[vocab_size]`; see `token_probabilities`.
        last: whether it is the last, since the model ends the text with it or no more were asked for.
    """

    token: int
    text: str
    logits: Tensor
    last: bool


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
    sampling = {"temperature": temperature, "top_k": top_k, "generator": generator}
    for step in stream_steps(model, tokenizer, prompt_ids, max_new_tokens, **sampling):
        if step.text:
            yield step.text


def stream_steps(
    model: GPTModel,
    tokenizer: Encoding,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Yield every new token, that of the end included, with its part of the text; otherwise as `stream_text`."""
    characters = codecs.getincrementaldecoder("utf-8")("replace")
    prompt = list(prompt_ids)[-model.config.context_length :]
    sampling = {"temperature": temperature, "top_k": top_k, "generator": generator}
    steps = decode_steps(model, [prompt], max_new_tokens, **sampling)
    for number, (chosen, logits) in enumerate(steps, start=1):
        token = int(chosen)
        ended = token == tokenizer.eot_token
        last = ended or number == max_new_tokens
        text = characters.decode(b"" if ended else token_bytes(tokenizer, token), final=last)
        yield Step(token, text, logits[0], last)
        if last:
            return


def token_bytes(tokenizer: Encoding, token: int) -> bytes:
    """Return a token's bytes; those of � for one that only the model has, whose vocabulary may be padded."""
    try:
        return tokenizer.decode_single_token_bytes(token)
    except KeyError:
        return _UNKNOWN


def text_of(tokenizer: Encoding, tokens: Sequence[int]) -> str:
    """Return the text of tokens, ids that only the model has included; see `token_bytes`."""
    return b"".join(token_bytes(tokenizer, token) for token in tokens).decode("utf-8", errors="replace")
