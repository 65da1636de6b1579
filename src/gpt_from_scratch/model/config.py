"""The configuration of a GPT model (chapter 4, `GPT_CONFIG_124M`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

from gpt_from_scratch.errors import InputError

Kernels = Literal["explicit", "fused"]
_OWN_DROP_RATES = ("drop_rate_emb", "drop_rate_attn", "drop_rate_shortcut")


class DropRates(NamedTuple):
    """Dropout probabilities: after the embeddings, on attention weights, on both residual branches."""

    emb: float
    attn: float
    shortcut: float


@dataclass(frozen=True)
class GPTConfig:
    """Shape and arithmetic of a GPT model; the field names are the book's.

    Attributes:
        vocab_size: number of token ids.
        context_length: longest sequence in tokens, the number of learned positions.
        emb_dim: width of every token vector.
        n_heads: attention heads; divides `emb_dim`.
        n_layers: transformer blocks.
        drop_rate: dropout probability after the embeddings, on attention weights and on both residual branches.
        drop_rate_emb, drop_rate_attn, drop_rate_shortcut: dropout probability of one of the three places, where it
            differs (exercise 4.3).
        qkv_bias: whether the query, key and value projections have a bias (OpenAI's weights: yes).
        tie_weights: whether the output head shares the token embedding's matrix (OpenAI's weights: yes).
        kernels: `explicit` computes layer norm, GELU, attention and loss as the book derives them; `fused` uses
            PyTorch's own kernels, oneDNN for matrix products where that is faster, and leaves padding out of training
            batches. Without dropout the two are equal up to rounding; with dropout they draw different random numbers.
        causal: whether attention is causal: no token sees a later one. False is for classifiers (the companion's row
            17); text generation needs True.
    """

    vocab_size: int = 50257
    context_length: int = 1024
    emb_dim: int = 768
    n_heads: int = 12
    n_layers: int = 12
    drop_rate: float = 0.1
    qkv_bias: bool = False
    tie_weights: bool = False
    kernels: Kernels = "explicit"
    causal: bool = True
    drop_rate_emb: float | None = None
    drop_rate_attn: float | None = None
    drop_rate_shortcut: float | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers"):
            if getattr(self, name) < 1:
                raise InputError(f"model configuration: {name} must be at least 1, found {getattr(self, name)!r}")
        if self.emb_dim % self.n_heads:
            raise InputError(
                f"model configuration: emb_dim must be divisible by n_heads, found {self.emb_dim} and {self.n_heads}"
            )
        for name in ("drop_rate", *_OWN_DROP_RATES):
            rate = getattr(self, name)
            if not (rate is None and name != "drop_rate") and not 0.0 <= rate < 1.0:
                raise InputError(f"model configuration: {name} must lie in [0, 1), found {rate!r}")
        if self.kernels not in ("explicit", "fused"):
            raise InputError(f"model configuration: kernels must be explicit or fused, found {self.kernels!r}")

    @classmethod
    def of(cls, cfg: GPTConfig | Mapping[str, Any]) -> GPTConfig:
        """Return `cfg` itself, or a configuration made from the book's dictionary.

        The dictionary must have the book's seven keys, or those of exercise 4.3, with three rates instead of
        `drop_rate`. `tie_weights`, `kernels` and `causal` are optional; other keys are ignored, as in the book's own
        classes.
        """
        if isinstance(cfg, GPTConfig):
            return cfg
        known = {field.name for field in fields(cls)}
        optional = {"tie_weights", "kernels", "causal", *_OWN_DROP_RATES}
        if all(name in cfg for name in _OWN_DROP_RATES):
            optional.add("drop_rate")
        missing = [name for name in known - optional if name not in cfg]
        if missing:
            raise KeyError(", ".join(sorted(missing)))
        return cls(**{name: value for name, value in cfg.items() if name in known})

    @property
    def drop_rates(self) -> DropRates:
        """The three dropout probabilities."""
        own = (getattr(self, name) for name in _OWN_DROP_RATES)
        return DropRates(*(self.drop_rate if rate is None else rate for rate in own))

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.emb_dim // self.n_heads


GPT2_SIZES: dict[str, GPTConfig] = {
    size: GPTConfig(emb_dim=width, n_heads=heads, n_layers=layers, drop_rate=0.0, qkv_bias=True, tie_weights=True)
    for size, width, heads, layers in (
        ("124M", 768, 12, 12),
        ("355M", 1024, 16, 24),
        ("774M", 1280, 20, 36),
        ("1558M", 1600, 25, 48),
    )
}
"""The four published GPT-2 models (Radford et al. 2019, and the `hparams.json` beside each checkpoint)."""
