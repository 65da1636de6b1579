"""One step of pretraining at full size: forward, loss, backward and optimizer, on random weights and tokens."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers import transformers_gpt2
from benchmarks.row import Row
from gpt_from_scratch.experiments.timing import in_turn
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.initial import draw_gpt2_weights
from gpt_from_scratch.model.linear import Linear
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.tasks import LanguageModelling

BATCH, TOKENS = 2, 256
SQUARE = 2048
"""Rows and columns of the matrices whose product is the ceiling."""
SHAPE = GPTConfig(context_length=TOKENS, drop_rate=0.0, qkv_bias=True, kernels="fused")
LR, WEIGHT_DECAY = 4e-4, 0.1
CPU = torch.device("cpu")


def rows(shape: GPTConfig = SHAPE) -> Iterator[Row]:
    """Yield a row for the untied model and one for the tied, each with the peers of its kind."""
    for tied in (False, True):
        yield _row(replace(shape, tie_weights=tied))
        gc.collect()


def _row(cfg: GPTConfig) -> Row:
    torch.manual_seed(123)
    model = GPTModel(cfg)
    if cfg.tie_weights:  # under PyTorch's own the softmax is saturated, and denormal numbers slow everybody down
        draw_gpt2_weights(model)
    ids = torch.randint(cfg.vocab_size, (BATCH, TOKENS + 1))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    peers = dict(transformers_peers(model) if cfg.tie_weights else reference_peers(model))
    steps = {name: step(peer, lambda peer=peer: _plain_loss(peer, inputs, targets)) for name, peer in peers.items()}
    task, batch = LanguageModelling(), (inputs, targets)
    losses: dict[str, list[float]] = {name: [] for name in ("ours", *steps)}
    ours = step(model, lambda: task.loss(model, batch, CPU))
    works = {name: _recorded(work, losses[name]) for name, work in {"ours": ours, **steps}.items()}
    times = in_turn(works)
    limits = in_turn(
        {"passes": lambda: _gradients(model, lambda: task.loss(model, batch, CPU)), **square_products()}, repeats=7
    )
    passes, work = limits.pop("passes"), flops(cfg)
    ceiling = {name: 2 * SQUARE**3 / seconds for name, seconds in limits.items()}
    return Row(
        f"pretraining step, 124M {'tied' if cfg.tie_weights else 'untied'}, batch {BATCH} x {TOKENS} tokens",
        times.pop("ours"),
        times,
        f"the losses of {len(losses['ours'])} steps agree to {largest_difference(losses):.0e} (relative)"
        + ("" if can_compile() else "; no C++ compiler here, so no peer is compiled"),
        at_least=1.05,
        bound=work / max(ceiling.values()),
        figures={
            "forward_backward_seconds": passes,
            **{
                f"share_of_{name}_ceiling": work / flops_per_second / passes
                for name, flops_per_second in ceiling.items()
            },
        },
    )


def step(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], float]:
    """Return one update of a model with AdamW's fused form, which returns the loss before it."""
    optimizer = build_optimizer(model, LR, WEIGHT_DECAY)

    def update() -> float:
        value = _gradients(model, loss)
        optimizer.step()
        model.zero_grad()  # five models side by side fit into less memory so
        return value

    return update


def reference_peers(model: GPTModel) -> Iterator[tuple[str, nn.Module]]:
    """Yield the models of `llms_from_scratch` with our weights, and both compiled where that is possible."""
    from llms_from_scratch import ch04

    cfg = vars(model.config)
    name = f"llms_from_scratch {version('llms_from_scratch')}"
    state = model.state_dict()
    for form in (ch04.GPTModel, ch04.GPTModelFast):
        for compiled in (False, True) if can_compile() else (False,):
            peer = form(cfg)
            peer.load_state_dict(
                state if form is ch04.GPTModel else fast_names(state), strict=form is not ch04.GPTModel
            )
            yield (
                f"{name} {form.__name__}{', compiled' if compiled else ''}",
                torch.compile(peer) if compiled else peer,
            )


def transformers_peers(model: GPTModel) -> Iterator[tuple[str, nn.Module]]:
    """Yield the GPT-2 of `transformers` with our weights, and compiled where that is possible."""
    for compiled in (False, True) if can_compile() else (False,):
        peer = transformers_gpt2(model, use_cache=False)
        name = f"transformers {version('transformers')} GPT2LMHeadModel{', compiled' if compiled else ''}"
        yield name, torch.compile(peer) if compiled else peer


def fast_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return our model's weights under the names that `GPTModelFast` gives them."""
    renamed = {}
    for key, value in state.items():
        key = key.replace(".scale", ".weight").replace(".shift", ".bias").replace("out_proj", "proj")
        if "W_key" in key or "W_value" in key:
            continue
        if "W_query" in key:
            parts = [state[key.replace("W_query", name)] for name in ("W_query", "W_key", "W_value")]
            key, value = key.replace("W_query", "qkv"), torch.cat(parts)
        renamed[key] = value
    return renamed


def flops(cfg: GPTConfig, batch: int = BATCH, tokens: int = TOKENS) -> float:
    """Return the floating-point operations of the matrix products in one forward and backward pass.

    Six for each weight that multiplies and each token, and as many for each pair of tokens in attention's two
    products, of which the causal mask leaves half.
    """
    multiplying = 12 * cfg.n_layers * cfg.emb_dim**2 + cfg.vocab_size * cfg.emb_dim
    attention = 2 * cfg.n_layers * cfg.emb_dim * tokens / 2
    return 6 * (multiplying + attention) * batch * tokens


def square_products() -> dict[str, Callable[[], Tensor]]:
    """Return a product of square matrices as PyTorch computes it, and as our fused linear layer does: the ceilings."""
    layer = Linear(SQUARE, SQUARE, bias=False).requires_grad_(False)
    layer.kernels = "fused"
    x = torch.randn(SQUARE, SQUARE)
    return {"matrix_product": lambda: x @ layer.weight.T, "onednn": lambda: layer(x)}


def largest_difference(losses: dict[str, list[float]]) -> float:
    """Return how far any peer's losses are from ours, as a fraction of ours.

    Raises:
        ValueError: when that is more than rounding.
    """
    difference = max(
        abs(their - our) / abs(our)
        for values in losses.values()
        for our, their in zip(losses["ours"], values, strict=True)
    )
    if not difference <= 1e-5:
        raise ValueError(f"expected equal losses, found {losses}")
    return difference


def can_compile() -> bool:
    """Return whether torch.compile finds the C++ compiler that it needs on a CPU."""
    return shutil.which("g++") is not None or shutil.which("clang++") is not None


def _gradients(model: nn.Module, loss: Callable[[], Tensor]) -> float:
    model.zero_grad()
    value = loss()
    value.backward()
    return value.item()


def _recorded(work: Callable[[], float], values: list[float]) -> Callable[[], None]:
    return lambda: values.append(work())


def _plain_loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    logits = model(inputs)
    logits = logits if isinstance(logits, Tensor) else logits.logits
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


if __name__ == "__main__":
    for row in rows():
        print(row, f"ratio {row.ratio:.2f}", flush=True)
