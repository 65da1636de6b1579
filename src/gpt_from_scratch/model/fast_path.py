"""The plumbing of fast paths, which compute a part of a forward pass: no padding, no logits that nobody reads.

`GPTModel`, its blocks and their attention take a `FastPath` and ask it here what to do. Their results are those of the
plain path up to rounding; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.kv_cache import KVCache, LayerCache
from gpt_from_scratch.model.sequences import last_tokens

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Maps queries, keys, values and a mask, as in `explicit_attention`, to one context vector per query and head."""


@dataclass(frozen=True)
class FastPath:
    """The part of a forward pass that is computed; all of it by default.

    Attributes:
        lengths: tokens of each sequence, when several are packed one behind the other into the input's only row. They
            do not see each other, and the positions of each begin at 0. None: each row of the input is one sequence.
        last_only: return each sequence's last token alone, and in the last block compute no other:
            logits `[batch, 1, vocab_size]`, or with `lengths` `[1, sequences, vocab_size]`.
        wanted: mask `[batch, tokens]` of the tokens whose logits are computed: `[number of them, vocab_size]`.
        first_block: block to begin at. The input is then what `GPTModel.run_blocks` returned of the blocks before it,
            `[batch, tokens, emb_dim]`, in the place of token ids.
    """

    lengths: Sequence[int] | None = None
    last_only: bool = False
    wanted: Tensor | None = None
    first_block: int = 0

    def in_block(self, is_last: bool) -> FastPath:
        """Return what applies to one block: those before the model's last compute every token."""
        return self if is_last or not self.last_only else replace(self, last_only=False)

    def kept_tokens(self, x: Tensor) -> Tensor:
        """Return the tokens of `x` `[batch, tokens, …]` that a block's output has: all, or each sequence's last."""
        return last_tokens(x, self.lengths) if self.last_only else x

    def wanted_tokens(self, x: Tensor) -> Tensor:
        """Return the tokens of `x` `[batch, tokens, emb_dim]` that go through the output head."""
        return x if self.wanted is None else x[self.wanted]


PLAIN = FastPath()
"""All of the forward pass."""


def token_positions(in_idx: Tensor, cache: KVCache | None, lengths: Sequence[int] | None, limit: int) -> Tensor:
    """Return the position of each token, `[tokens]` or `[batch, tokens]`.

    They count from 0 in each sequence, or go on behind the tokens that are cached.

    Raises:
        InputError: when a sequence is longer than `limit`.
    """
    start = 0 if cache is None else cache.length
    end = start + (in_idx.shape[1] if lengths is None else max(lengths))
    if end > limit:
        raise InputError(f"sequence of {end} tokens: longer than the model's context_length of {limit}")
    if cache is not None and cache.places is not None:
        return cache.places[:, None]
    positions = torch.arange(start, end, device=in_idx.device)
    return positions if lengths is None else torch.cat([positions[:length] for length in lengths])


def attend(
    kernel: Kernel,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    cache: LayerCache | None,
    lengths: Sequence[int] | None,
) -> Tensor:
    """Return the context vectors `[batch, n_queries, heads * head_dim]` of attention by `kernel`.

    Args:
        queries, keys, values: `[batch, heads, tokens, head_dim]` each.
        cache: keys and values of earlier tokens; the new ones are appended.
        lengths: as in `FastPath`; each sequence has a query for each of its tokens, or a single one for its last.
    """
    visible = None
    if cache is not None:
        keys, values = cache.append(keys, values)
        visible = cache.visible
    if lengths is None:
        context = kernel(queries, keys, values, visible)
    else:
        asked = lengths if queries.shape[2] == keys.shape[2] else [1] * len(lengths)
        sequences = zip(queries.split(asked, 2), keys.split(lengths, 2), values.split(lengths, 2), strict=True)
        context = torch.cat([kernel(*sequence, visible) for sequence in sequences], dim=2)
    return context.transpose(1, 2).flatten(2)
