"""On one GPU in bf16: training at context 1024, decoding at batch 1, and the three trainings of the book.

Needs the base install alone; those whom we compare with are timed where they are installed.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.book_run import BOOK, BookRun, BookSizes
from benchmarks.peers import transformers_gpt2
from benchmarks.row import LeftOut, Row, matrix_product_flops
from benchmarks.updates import OurUpdates, random_model, training_flops
from gpt_from_scratch.experiments.timing import in_turn, wait
from gpt_from_scratch.generation import generate
from gpt_from_scratch.model import GPTConfig
from gpt_from_scratch.model.config import GPT2_SIZES

TRANSFORMERS = "transformers"
BF16_TOLERANCE = 0.01
"""Largest relative difference between losses of which one at least is in bf16, which keeps 8 bits."""

PARTS = {"124M": 90.0, "decoding": 40.0, "book": 150.0, "355M": 80.0, "1558M": 110.0}
"""Names of the parts that can be run alone, the most telling first: training of a size, decoding, the book's trainings.

Each with the seconds that it is reckoned to take, its start and compiling included; not measured.
"""


@dataclass(frozen=True)
class Scale:
    """The sizes of the work.

    Attributes:
        sizes: models to train, by name, each with the sequences of a batch and the tokens per second we mean to reach.
        product: width of the square matrices whose product is the ceiling.
        compiled: whether to compile the losses.
        updates: updates that are timed.
        prompt, new_tokens: tokens of the prompt, and to write.
        tokens_per_second: what decoding is meant to reach.
        book: sizes of the book's trainings.
    """

    sizes: Mapping[str, tuple[GPTConfig, int, float]]
    product: int
    compiled: bool
    updates: int
    prompt: int
    new_tokens: int
    tokens_per_second: float
    book: BookSizes


FULL = Scale(
    sizes={
        size: (replace(GPT2_SIZES[size], kernels="fused"), sequences, rate)
        for size, sequences, rate in (("124M", 32, 500e3), ("355M", 16, 190e3), ("1558M", 8, 50e3))
    },
    product=8192,
    compiled=True,
    updates=20,
    prompt=32,
    new_tokens=200,
    tokens_per_second=2000,
    book=BOOK,
)


def rows(*parts: str) -> Iterator[Row]:
    """Yield the rows; the aims are those for an H200 and stand only where one is found.

    Args:
        parts: some of `PARTS`; all if none is given.
    """
    if not torch.cuda.is_available():
        raise LeftOut("no CUDA device")
    scale = replace(FULL, compiled=FULL.compiled and why_not_compiled() is None)
    if not scale.compiled:
        print(f"  the losses are not compiled, which makes them slower: {why_not_compiled()}", flush=True)
    yield from rows_at(scale, torch.device("cuda"), aims="H200" in torch.cuda.get_device_name(), parts=parts)


def why_not_compiled() -> str | None:
    """Return what `torch.compile` lacks for a GPU; None where it has all."""
    if not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        return "no C++ compiler (g++ or clang++)"
    return None if importlib.util.find_spec("triton") else "no package triton"


def rows_at(scale: Scale, device: torch.device, aims: bool, parts: Collection[str] = ()) -> Iterator[Row]:
    """Yield the rows for a device at a scale; the tests run them on the CPU with tiny models."""
    ceiling = matrix_product_flops(scale.product, device=device, dtype=torch.bfloat16)
    print(f"  bf16 matrix products: {ceiling / 1e12:.3g} TFLOP/s", flush=True)
    for number, (name, (cfg, sequences, rate)) in enumerate(scale.sizes.items()):
        if parts and name not in parts:
            continue
        # Those whom we compare with are timed on the first, smallest model.
        row = _training(scale, name, cfg, sequences, device, ceiling, peers=number == 0)
        yield replace(row, at_most=sequences * cfg.context_length / rate) if aims else row
        _free(device)
    if not parts or "decoding" in parts:
        name, (cfg, _, _) = next(iter(scale.sizes.items()))
        row = _decoding(scale, name, cfg, device)
        yield replace(row, at_most=scale.new_tokens / scale.tokens_per_second) if aims else row
        _free(device)
    if not parts or "book" in parts:
        yield BookRun(scale.book, device).row(at_most=120.0 if aims else None)


def _training(
    scale: Scale, name: str, cfg: GPTConfig, sequences: int, device: torch.device, ceiling: float, peers: bool
) -> Row:
    """Time updates of our training loop, check its losses against fp32, and time others' updates in turn with it."""
    torch.manual_seed(123)
    ids = torch.randint(cfg.vocab_size, (sequences, cfg.context_length + 1))
    batch = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    works: dict[str, Callable[[], float]] = {"ours": OurUpdates(cfg, batch, device, "bf16", scale.compiled)}
    agreement = f"our first losses differ by {_check_losses(cfg, batch, device, scale):.1e} from our own in fp32"
    if peers:
        works |= _others(cfg, batch, device, scale.compiled)
    if TRANSFORMERS in works:
        difference = _difference([works["ours"]()], [works[TRANSFORMERS]()])
        agreement += f", the very first one by {difference:.1e} from that of {TRANSFORMERS} on the same weights"
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = in_turn(works, scale.updates, warmup=3)
    tokens = sequences * cfg.context_length
    ours = times.pop("ours")
    figures = {"tokens per second": tokens / ours, **_peak_memory(device)}
    figures |= {f"tokens per second of {other}": tokens / time for other, time in times.items()}
    return Row(
        work=f"training {name} in bf16, an update of {sequences} x {cfg.context_length} tokens",
        ours=ours,
        peers=times,
        agreement=agreement,
        bound=tokens * training_flops(cfg) / ceiling,
        figures=figures,
    )


def _check_losses(cfg: GPTConfig, batch: tuple[Tensor, Tensor], device: torch.device, scale: Scale) -> float:
    """Return the largest relative difference of the first losses from those in fp32 without compiling."""
    few = batch[0][:2], batch[1][:2]
    losses = []
    for precision, compiled in (("fp32", False), ("bf16", scale.compiled)):
        update = OurUpdates(cfg, few, device, precision, compiled)
        losses.append([update() for _ in range(5)])
        del update
        _free(device)
    return _difference(*losses)


def _difference(expected: list[float], found: list[float]) -> float:
    difference = max(abs(one / other - 1) for one, other in zip(found, expected, strict=True))
    assert difference < BF16_TOLERANCE, f"losses: expected {expected}, found {found}"
    return difference


def _others(
    cfg: GPTConfig, batch: tuple[Tensor, Tensor], device: torch.device, compiled: bool
) -> dict[str, Callable[[], float]]:
    """Return the updates of those whom we compare with, on our initial weights where they have the same."""
    works: dict[str, Callable[[], float]] = {}
    if importlib.util.find_spec(TRANSFORMERS):
        theirs = transformers_gpt2(random_model(cfg), use_cache=False).to(device)
        works[TRANSFORMERS] = _update(theirs, lambda inputs: theirs(inputs).logits, batch, device, compiled)
    if importlib.util.find_spec("llms_from_scratch"):
        with suppress(ImportError):
            from llms_from_scratch.ch04 import GPTModelFast

            shape = ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers", "drop_rate", "qkv_bias")
            fast = GPTModelFast({key: getattr(cfg, key) for key in shape}).to(device)
            works["llms-from-scratch (fast, untied)"] = _update(fast, fast, batch, device, compiled)
    return works


def _update(
    model: nn.Module,
    logits: Callable[[Tensor], Tensor],
    batch: tuple[Tensor, Tensor],
    device: torch.device,
    compiled: bool,
) -> Callable[[], float]:
    """Return a function that makes one update, as carefully done as ours: bf16, fused AdamW, compiled."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
    inputs, targets = (part.to(device) for part in batch)

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits(inputs).flatten(0, 1), targets.flatten())

    compute = torch.compile(loss_of) if compiled else loss_of

    def update() -> float:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = compute(inputs, targets)
        loss.backward()
        optimizer.step()
        wait(device)
        return loss.item()

    return update


def _decoding(scale: Scale, name: str, cfg: GPTConfig, device: torch.device) -> Row:
    """Time greedy decoding at batch 1 with bf16 weights."""
    model = random_model(cfg).to(device).eval()
    prompt = torch.randint(cfg.vocab_size, (scale.prompt,)).tolist()
    few = min(20, scale.new_tokens)
    cached, anew = (generate(model, [prompt], few, use_cache=use) for use in (True, False))
    assert cached == anew, f"tokens with the cache {cached}, without {anew}"
    model.to(torch.bfloat16)
    works: dict[str, Callable[[], object]] = {"ours": lambda: generate(model, [prompt], scale.new_tokens)}
    if importlib.util.find_spec(TRANSFORMERS):
        theirs = transformers_gpt2(random_model(cfg)).to(device, torch.bfloat16).eval()
        ids = torch.tensor([prompt], device=device)
        options = {"do_sample": False, "use_cache": True, "pad_token_id": 0, "eos_token_id": None}
        works[TRANSFORMERS] = lambda: theirs.generate(ids, max_new_tokens=scale.new_tokens, **options).tolist()
    times = in_turn(works)
    ours = times.pop("ours")
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return Row(
        work=f"decoding {name} in bf16, one prompt, {scale.prompt} + {scale.new_tokens} tokens",
        ours=ours,
        peers=times,
        agreement=f"in fp32 the first {few} tokens with the cache are those without it",
        bound=scale.new_tokens * weights / _bytes_per_second(weights, device),
        figures={"tokens per second": scale.new_tokens / ours},
    )


def _bytes_per_second(size: int, device: torch.device) -> float:
    """Return how fast a model's worth of bytes is read: each weight is read once for every token."""
    data = torch.zeros(max(size, 2**20) // 4, device=device)

    def read() -> None:
        data.sum()
        wait(device)

    return data.numel() * 4 / in_turn({"read": read}, 9, warmup=3)["read"]


def _peak_memory(device: torch.device) -> dict[str, float]:
    return {"peak memory, GB": torch.cuda.max_memory_allocated() / 1e9} if device.type == "cuda" else {}


def _free(device: torch.device) -> None:
    gc.collect()
    torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
