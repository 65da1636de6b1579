"""The companion's greedy generation with a key-value cache, at once or token by token.

Both go through `generation.decode`: the cache serves while the tokens fit the model's context; past it the last
`context_size` tokens are seen anew at every step, as without a cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gpt_from_scratch.book.generate import trim_input_tensor
from gpt_from_scratch.book.kv_cache.utils import KVCache
from gpt_from_scratch.generation import decode

__all__ = ["KVCache", "generate_text_simple", "generate_text_simple_stream", "trim_input_tensor"]


def generate_text_simple(
    model: nn.Module, idx: Tensor, max_new_tokens: int, context_size: int | None = None, use_cache: bool = True
) -> Tensor:
    """Continue token ids `[batch, tokens]` greedily by `max_new_tokens` and return all of them.

    Puts the model into evaluation mode.

    Args:
        context_size: most tokens the model sees at once; its context length if None.
        use_cache: keep keys and values between tokens; the result is the same without.
    """
    model.eval()
    new = decode(model, idx, max_new_tokens, context_size=context_size, use_cache=use_cache)
    return torch.cat([idx, *(chosen[:, None] for chosen in new)], dim=1)


def generate_text_simple_stream(
    model: nn.Module,
    token_ids: Tensor,
    max_new_tokens: int,
    eos_token_id: int | None = None,
    context_size: int | None = None,
) -> Iterator[Tensor]:
    """Yield the next token of every row, `[batch, 1]`, as it is chosen; puts the model into evaluation mode.

    Ends when every row has produced `eos_token_id`; a row that did so before the others goes on with it.
    """
    model.eval()
    finished = torch.zeros(token_ids.shape[0], 1, dtype=torch.bool, device=token_ids.device)
    for chosen in decode(model, token_ids, max_new_tokens, context_size=context_size):
        next_token = chosen[:, None]
        if eos_token_id is not None:
            finished |= next_token == eos_token_id
            if finished.all():
                return
            next_token = next_token.masked_fill(finished, eos_token_id)
        yield next_token
