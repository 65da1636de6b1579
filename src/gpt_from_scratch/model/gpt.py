"""The transformer block and the GPT model (chapter 4, sections 4.5 and 4.6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.attention import MultiHeadAttention
from gpt_from_scratch.model.config import GPTConfig, Kernels
from gpt_from_scratch.model.kv_cache import KVCache, LayerCache
from gpt_from_scratch.model.layers import FeedForward, LayerNorm, use_kernels
from gpt_from_scratch.model.linear import Linear
from gpt_from_scratch.model.sequences import last_tokens


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

    def forward(
        self,
        x: Tensor,
        cache: LayerCache | None = None,
        visible: Tensor | None = None,
        lengths: Sequence[int] | None = None,
        last_only: bool = False,
    ) -> Tensor:
        """`[batch, tokens, emb_dim]` → the same shape; the other arguments as in `MultiHeadAttention`."""
        shortcut = last_tokens(x, lengths) if last_only else x
        x = shortcut + self.drop_resid(self.att(self.norm1(x), cache, visible, lengths, last_only))
        return x + self.drop_resid(self.ff(self.norm2(x)))


class GPTModel(nn.Module):
    """GPT-2: token and position embeddings, transformer blocks, a final norm and an output head.

    Args:
        cfg: a `GPTConfig`, or the book's dictionary.

    Under one seed the initial weights equal those of the book's `GPTModel`: the modules draw in the same order.
    """

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

    def forward(
        self,
        in_idx: Tensor,
        cache: KVCache | None = None,
        positions: Tensor | None = None,
        visible: Tensor | None = None,
        lengths: Sequence[int] | None = None,
        wanted: Tensor | None = None,
        last_only: bool = False,
        first_block: int = 0,
    ) -> Tensor:
        """Return the logits `[batch, tokens, vocab_size]` of the next token after each token.

        Args:
            in_idx: token ids `[batch, tokens]`.
            cache: keys and values of the tokens before these; extended by these.
            positions: position of each token, `[tokens]` or `[batch, tokens]`; unless given, from 0 on in each
                sequence, or from the last that is cached.
            visible, lengths: see `MultiHeadAttention.forward`.
            wanted: True at the tokens whose logits are wanted, `[batch, tokens]`; then these alone are computed and
                returned, `[number of them, vocab_size]`.
            last_only: compute the last token's logits alone, of every sequence: `[batch, 1, vocab_size]`, or with
                `lengths` `[1, sequences, vocab_size]`.
            first_block: begin at this block; in the place of token ids stand the states that `run_blocks` returned
                of the blocks before it.

        Raises:
            InputError: when the sequence is longer than the model's context.
        """
        x = self.hidden_states(in_idx, cache, positions, visible, lengths, last_only, first_block)
        return self.out_head(x if wanted is None else x[wanted])

    def hidden_states(
        self,
        in_idx: Tensor,
        cache: KVCache | None = None,
        positions: Tensor | None = None,
        visible: Tensor | None = None,
        lengths: Sequence[int] | None = None,
        last_only: bool = False,
        first_block: int = 0,
    ) -> Tensor:
        """Return what the output head sees, `[batch, tokens, emb_dim]`; arguments as in `forward`."""
        x = in_idx if first_block else self.embed(in_idx, cache, positions, lengths)
        blocks = range(first_block, len(self.trf_blocks))
        return self.final_norm(self.run_blocks(x, blocks, cache, visible, lengths, last_only))

    def embed(
        self,
        in_idx: Tensor,
        cache: KVCache | None = None,
        positions: Tensor | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Return what the first block sees, `[batch, tokens, emb_dim]`; arguments as in `forward`."""
        start = 0 if cache is None else cache.length
        end = start + (in_idx.shape[1] if lengths is None else max(lengths))
        if end > self.pos_emb.num_embeddings:
            raise InputError(
                f"sequence of {end} tokens: longer than the model's context_length of {self.pos_emb.num_embeddings}"
            )
        if positions is None:
            positions = torch.arange(start, end, device=in_idx.device)
            if lengths is not None:
                positions = torch.cat([positions[:length] for length in lengths])
        return self.drop_emb(self.tok_emb(in_idx) + self.pos_emb(positions))

    def run_blocks(
        self,
        x: Tensor,
        blocks: range,
        cache: KVCache | None = None,
        visible: Tensor | None = None,
        lengths: Sequence[int] | None = None,
        last_only: bool = False,
    ) -> Tensor:
        """Send `x` `[batch, tokens, emb_dim]` through some of the blocks; other arguments as in `forward`.

        The model's last block needs every token, and gives under `last_only` the last ones alone.
        """
        for layer in blocks:
            layer_cache = None if cache is None else cache.layers[layer]
            alone = last_only and layer == len(self.trf_blocks) - 1
            x = self.trf_blocks[layer](x, layer_cache, visible, lengths, alone)
        return x

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.tok_emb.weight.device
