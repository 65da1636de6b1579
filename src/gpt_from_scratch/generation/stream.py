"""Streaming: generated text in whole characters, token by token."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tiktoken import Encoding
from torch import Tensor

from gpt_from_scratch.generation.engine import decode_steps
from gpt_from_scratch.generation.sampling import GREEDY, Sampling
from gpt_from_scratch.generation.stopping import StopFilter, token_bytes
from gpt_from_scratch.model import GPTModel


@dataclass(frozen=True)
class Step:
    """One new token.

    Attributes:
        token: the token's id.
        text: the text that it completes; empty while a character is unfinished, or what may become a stop string.
        logits: the logits that it was chosen from, `[vocab_size]`; see `token_probabilities`.
        last: True for the last token: the end of the text or of a stop string, or the last of `max_new_tokens`.
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
    sampling: Sampling = GREEDY,
) -> Iterator[str]:
    """Continue a prompt and yield the new text piece by piece, until the model ends it or a stop string comes.

    A token may be a part of a character; it is held back until the rest has come, and so is what may become a stop
    string. Joined, the pieces are the text that `tokenizer.decode` gives for all new tokens, up to the stop string.

    Args:
        prompt_ids: at least one token id; the model sees the last ones that fit its context.

    Raises:
        InputError: for an empty prompt.
    """
    for step in stream_steps(model, tokenizer, prompt_ids, max_new_tokens, sampling):
        if step.text:
            yield step.text


def stream_steps(
    model: GPTModel,
    tokenizer: Encoding,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
) -> Iterator[Step]:
    """Yield every new token, the end-of-text token included; arguments and errors as in `stream_text`."""
    characters = codecs.getincrementaldecoder("utf-8")("replace")
    shown = StopFilter(sampling.stop)
    prompt = list(prompt_ids)[-model.config.context_length :]
    steps = decode_steps(model, [prompt], max_new_tokens, sampling)
    for number, (chosen, logits) in enumerate(steps, start=1):
        token = int(chosen)
        ended = token == tokenizer.eot_token
        last = ended or number == max_new_tokens
        text = characters.decode(b"" if ended else token_bytes(tokenizer, token), final=last)
        text = shown.feed(text, last=last)
        last = last or shown.found
        yield Step(token, text, logits[0], last)
        if last:
            return
