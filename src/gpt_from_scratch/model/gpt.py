"""The transformer block and the GPT model (chapter 4, sections 4.5 and 4.6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.attention import MultiHeadAttention
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.kv_cache import KVCache, LayerCache
from gpt_from_scratch.model.layers import FeedForward, LayerNorm, use_kernels


class TransformerBlock(nn.Module):
    """Attention and feed-forward network, each behind a layer norm and beside a shortcut (pre-norm, as in GPT-2)."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        cfg = GPTConfig.of(cfg)
        self.att = MultiHeadAttention(
            d_in=cfg.emb_dim,
            d_out=cfg.emb_dim,
            context_length=cfg.context_length,
            dropout=cfg.drop_rate,
            num_heads=cfg.n_heads,
            qkv_bias=cfg.qkv_bias,
        )
        self.ff = FeedForward(cfg)
        self.norm1 = LayerNorm(cfg.emb_dim)
        self.norm2 = LayerNorm(cfg.emb_dim)
        self.drop_resid = nn.Dropout(cfg.drop_rate)
        use_kernels(self, cfg.kernels)

    def forward(self, x: Tensor, cache: LayerCache | None = None, visible: Tensor | None = None) -> Tensor:
        """`[batch, tokens, emb_dim]` → the same shape; `cache` and `visible` as in `MultiHeadAttention`."""
        x = x + self.drop_resid(self.att(self.norm1(x), cache, visible))
        return x + self.drop_resid(self.ff(self.norm2(x)))


class GPTModel(nn.Module):
    """GPT-2: token and position embeddings, transformer blocks, a final norm and an output head.

    Args:
        cfg: a `GPTConfig`, or the book's dictionary.

    Under one seed the initial weights equal those of the book's `GPTModel`: the modules draw in the same order.
    """

    block_class: type[nn.Module] = TransformerBlock
    norm_class: type[nn.Module] = LayerNorm

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        self.config = cfg = GPTConfig.of(cfg)
        self.tok_emb = nn.Embedding(cfg.vocab_size, cfg.emb_dim)
        self.pos_emb = nn.Embedding(cfg.context_length, cfg.emb_dim)
        self.drop_emb = nn.Dropout(cfg.drop_rate)
        self.trf_blocks = nn.Sequential(*(self.block_class(cfg) for _ in range(cfg.n_layers)))
        self.final_norm = self.norm_class(cfg.emb_dim)
        self.out_head = nn.Linear(cfg.emb_dim, cfg.vocab_size, bias=False)
        if cfg.tie_weights:
            self.out_head.weight = self.tok_emb.weight
        use_kernels(self, cfg.kernels)

    def forward(
        self,
        in_idx: Tensor,
        cache: KVCache | None = None,
        positions: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Return the logits `[batch, tokens, vocab_size]` of the next token after each token.

        Args:
            in_idx: token ids `[batch, tokens]`.
            cache: keys and values of the tokens before these; extended by these.
            positions: position of each token, `[tokens]` or `[batch, tokens]`; consecutive unless given.
            visible: see `MultiHeadAttention.forward`.

        Raises:
            InputError: when the sequence is longer than the model's context.
        """
        return self.out_head(self.hidden_states(in_idx, cache, positions, visible))

    def hidden_states(
        self,
        in_idx: Tensor,
        cache: KVCache | None = None,
        positions: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Return what the output head sees, `[batch, tokens, emb_dim]`; arguments as in `forward`."""
        start = 0 if cache is None else cache.length
        end = start + in_idx.shape[1]
        if end > self.pos_emb.num_embeddings:
            raise InputError(
                f"sequence of {end} tokens: longer than the model's context_length of {self.pos_emb.num_embeddings}"
            )
        if positions is None:
            positions = torch.arange(start, end, device=in_idx.device)
        x = self.drop_emb(self.tok_emb(in_idx) + self.pos_emb(positions))
        for layer, block in enumerate(self.trf_blocks):
            x = block(x, None if cache is None else cache.layers[layer], visible)
        return self.final_norm(x)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.tok_emb.weight.device
