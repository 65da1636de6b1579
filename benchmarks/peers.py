"""The models of others that ours are compared with, with our weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.weights.layout import gpt2_tensors, named_parameters


def transformers_gpt2(model: GPTModel, **options: Any) -> nn.Module:
    """Return the GPT-2 of `transformers` with a model's weights, without dropout, which ends no text by itself.

    Args:
        options: further ones of `GPT2Config`.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    cfg = model.config
    shape = {"vocab_size": cfg.vocab_size, "n_positions": cfg.context_length, "n_embd": cfg.emb_dim}
    shape |= {"n_layer": cfg.n_layers, "n_head": cfg.n_heads, "tie_word_embeddings": cfg.tie_weights}
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    theirs = GPT2LMHeadModel(GPT2Config(**{**shape, **dropout, "bos_token_id": None, "eos_token_id": None, **options}))
    ours, parameters = named_parameters(model), dict(theirs.transformer.named_parameters())
    with torch.no_grad():
        for tensor in gpt2_tensors(cfg):
            if tensor.huggingface in parameters:
                parameters[tensor.huggingface].copy_(tensor.from_parameters(ours))
        if not cfg.tie_weights:
            theirs.lm_head.weight.copy_(model.out_head.weight)
    theirs.generation_config.eos_token_id, theirs.generation_config.pad_token_id = None, 0
    return theirs
