"""The transformer block and the GPT model (chapter 4, sections 4.5 and 4.6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gpt_from_scratch.model.attention import MultiHeadAttention
from gpt_from_scratch.model.config import GPTConfig, Kernels
from gpt_from_scratch.model.fast_path import PLAIN, FastPath, token_positions
from gpt_from_scratch.model.kv_cache import KVCache, LayerCache
from gpt_from_scratch.model.layers import FeedForward, LayerNorm, use_kernels
from gpt_from_scratch.model.linear import Linear


class TransformerBlock(nn.Module):
    """Attention and feed-forward network, each behind a layer norm and beside a shortcut (pre-norm, as in GPT-2)."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        cfg = GPTConfig.of(cfg)
        self.att = MultiHeadAttention(
            d_in=cfg.emb_dim,
            d_out=cfg.emb_dim,
            context_length=cfg.context_length,
            dropout=cfg.drop_rates.attn,
            num_heads=cfg.n_heads,
            qkv_bias=cfg.qkv_bias,
        )
        self.att.causal = cfg.causal
        self.ff = FeedForward(cfg)
        self.norm1 = LayerNorm(cfg.emb_dim)
        self.norm2 = LayerNorm(cfg.emb_dim)
        self.drop_resid = nn.Dropout(cfg.drop_rates.shortcut)
        use_kernels(self, cfg.kernels)

    def forward(self, x: Tensor, cache: LayerCache | None = None, fast: FastPath = PLAIN) -> Tensor:
        """`[batch, tokens, emb_dim]` → the same shape; `cache` and `fast` as in `GPTModel`."""
        shortcut = fast.kept_tokens(x)
        x = shortcut + self.drop_resid(self.att(self.norm1(x), cache, fast))
        return x + self.drop_resid(self.ff(self.norm2(x)))


class GPTModel(nn.Module):
    """GPT-2: token and position embeddings, transformer blocks, a final norm and an output head.

    Args:
        cfg: a `GPTConfig`, or the book's dictionary.

    Under one seed the initial weights equal those of the book's `GPTModel`: the modules draw in the same order.

    Attributes:
        unknown_ids: ids without a token, of a vocabulary that was padded to a round number: never generated.
    """

    unknown_ids: Sequence[int] = ()
    kernels: Kernels = "explicit"
    block_class: type[nn.Module] = TransformerBlock
    norm_class: type[nn.Module] = LayerNorm

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        self.config = cfg = GPTConfig.of(cfg)
        self.tok_emb = nn.Embedding(cfg.vocab_size, cfg.emb_dim)
        self.pos_emb = nn.Embedding(cfg.context_length, cfg.emb_dim)
        self.drop_emb = nn.Dropout(cfg.drop_rates.emb)
        self.trf_blocks = nn.Sequential(*(self.block_class(cfg) for _ in range(cfg.n_layers)))
        self.final_norm = self.norm_class(cfg.emb_dim)
        self.out_head = Linear(cfg.emb_dim, cfg.vocab_size, bias=False)
        if cfg.tie_weights:
            self.out_head.weight = self.tok_emb.weight
        use_kernels(self, cfg.kernels)

    def forward(self, in_idx: Tensor, cache: KVCache | None = None, fast: FastPath = PLAIN) -> Tensor:
        """Return the logits `[batch, tokens, vocab_size]` of the next token after each token.

        Args:
            in_idx: token ids `[batch, tokens]`.
            cache: keys and values of the tokens before these; those of these are appended.
            fast: the part of the pass that is needed; unless given, all of it.

        Raises:
            InputError: when the sequence is longer than the model's context.
        """
        x = self.hidden_states(in_idx, cache, fast)
        return self.out_head(fast.wanted_tokens(x))

    def hidden_states(self, in_idx: Tensor, cache: KVCache | None = None, fast: FastPath = PLAIN) -> Tensor:
        """Return the output head's input, `[batch, tokens, emb_dim]`; arguments as in `forward`."""
        x = in_idx if fast.first_block else self.embed(in_idx, cache, fast)
        x = self.run_blocks(x, range(fast.first_block, len(self.trf_blocks)), cache, fast)
        return self.final_norm(x)

    def embed(self, in_idx: Tensor, cache: KVCache | None = None, fast: FastPath = PLAIN) -> Tensor:
        """Return the sum of token and position embeddings, `[batch, tokens, emb_dim]`; arguments as in `forward`."""
        positions = token_positions(in_idx, cache, fast.lengths, self.pos_emb.num_embeddings)
        return self.drop_emb(self.tok_emb(in_idx) + self.pos_emb(positions))

    def run_blocks(self, x: Tensor, blocks: range, cache: KVCache | None = None, fast: FastPath = PLAIN) -> Tensor:
        """Send `x` `[batch, tokens, emb_dim]` through some of the blocks; `cache` and `fast` as in `forward`."""
        for number in blocks:
            layer_cache = None if cache is None else cache.layers[number]
            x = self.trf_blocks[number](x, layer_cache, fast.in_block(number == len(self.trf_blocks) - 1))
        return x

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return self.tok_emb.weight.device
