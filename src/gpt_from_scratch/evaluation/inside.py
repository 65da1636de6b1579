"""Views into a model that reads a text: attention weights, the loss of each token, the influence of each token."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt_from_scratch.model import GPTModel, MultiHeadAttention
from gpt_from_scratch.model.attention import causal_mask, explicit_attention
from gpt_from_scratch.model.fast_path import FastPath
from gpt_from_scratch.model.sequences import DecidingToken, first_tokens, last_tokens, mean_tokens


@torch.inference_mode()
def attention_maps(model: GPTModel, ids: Tensor) -> Tensor:
    """Return the attention weights of every layer and head, `[layers, heads, tokens, tokens]`.

    Row by row they say how much each token takes from each: a row sums to 1, and is 0 where the token may not look.

    Args:
        ids: one text, `[tokens]`.
    """
    x = model.embed(ids[None])
    maps = []
    for layer, block in enumerate(model.trf_blocks):
        maps.append(_weights(block.att, block.norm1(x)))
        x = model.run_blocks(x, range(layer, layer + 1))
    return torch.cat(maps)


def _weights(attention: MultiHeadAttention, x: Tensor) -> Tensor:
    """Return `[batch, heads, tokens, tokens]` for what goes into the attention, `[batch, tokens, d_in]`."""
    queries, keys = (
        project(x).unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)
        for project in (attention.W_query, attention.W_key)
    )
    tokens = x.shape[1]
    # Attention returns weights @ values. With the identity for values, that is the weights themselves.
    identity = torch.eye(tokens, dtype=x.dtype, device=x.device)
    visible = causal_mask(tokens, tokens, x.device) if attention.causal else None
    return explicit_attention(queries, keys, identity, visible, nn.Dropout(0.0))


@torch.inference_mode()
def surprises(model: GPTModel, ids: Tensor) -> Tensor:
    """Return minus the logarithm of each token's probability after those before it, in nats, `[tokens - 1]`.

    The first token has none: nothing precedes it.

    Args:
        ids: one text, `[tokens]`.
    """
    return F.cross_entropy(model(ids[None])[0, :-1], ids[1:], reduction="none")


def influences(classifier: GPTModel, ids: Tensor, label: int, deciding_token: DecidingToken = "last") -> Tensor:
    """Return how much each token speaks for a label, `[tokens]`: gradient times input.

    Each is the slope of the label's log-odds, as the classifier decides, along the token's own embedding vector:
    above 0 where a stronger token makes the label more likely, below 0 where it makes it less so.

    Args:
        ids: one text, `[tokens]`, padded if the classifier wants it.
        label: number of the class.
        deciding_token: where the class is read; see `ClassifierInfo`.
    """
    with torch.enable_grad():
        x = classifier.embed(ids[None]).detach().requires_grad_()
        fast = FastPath(last_only=deciding_token in ("last", "last_real"))
        states = classifier.run_blocks(x, range(len(classifier.trf_blocks)), fast=fast)
        decide = {"first": first_tokens, "mean": mean_tokens}.get(deciding_token, last_tokens)
        logits = decide(classifier.out_head(classifier.final_norm(states)), None)[0, 0]
        others = torch.cat([logits[:label], logits[label + 1 :]])
        (gradient,) = torch.autograd.grad(logits[label] - torch.logsumexp(others, dim=0), x)
    # The position's vector is added to the token's, so the gradient along the two is the same.
    return (gradient[0] * classifier.tok_emb(ids)).sum(-1).detach()
