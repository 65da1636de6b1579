"""The companion's additions for generating text: room for the answer after a long prompt."""

from __future__ import annotations

from torch import Tensor


def trim_input_tensor(input_ids_tensor: Tensor, context_len: int, max_new_tokens: int) -> Tensor:
    """Keep the last `context_len - max_new_tokens` of the token ids `[batch, tokens]`.

    Raises:
        AssertionError: when the new tokens alone fill the context.
    """
    assert max_new_tokens < context_len, "max_new_tokens must be less than context_len"
    return input_ids_tensor[:, -(context_len - max_new_tokens) :]
