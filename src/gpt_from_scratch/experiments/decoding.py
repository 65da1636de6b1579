"""Greedy decoding of one prompt with and without a key-value cache, in tokens a second (the companion's ch04/03)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from gpt_from_scratch.book.kv_cache.utils import KVCache as GrowingCache
from gpt_from_scratch.experiments.timing import Say, Timing, in_turn, wait
from gpt_from_scratch.generation import generate
from gpt_from_scratch.model import GPTConfig, GPTModel, KVCache
from gpt_from_scratch.model.int8 import to_int8
from gpt_from_scratch.model.layers import use_kernels

TIE = 1e-4
"""Largest difference between two logits that tie, as a share of the standard deviation of all of them."""

Decode = Callable[[list[int], int], list[int]]


def measure(names: list[str], sizes: Mapping[str, int], device: torch.device, say: Say) -> dict[str, Timing]:
    """Time each way of decoding, on random weights and a random prompt.

    Raises:
        ValueError: when ways with the same arithmetic generate other tokens.
    """
    torch.manual_seed(123)
    cfg = GPTConfig(
        sizes["vocab_size"], sizes["context_length"], sizes["emb_dim"], sizes["n_heads"], sizes["n_layers"], 0.0
    )
    model = GPTModel(cfg).eval().to(device)
    prompt = torch.randint(cfg.vocab_size, (sizes["prompt"],)).tolist()
    written: dict[str, list[int]] = {}
    ways = {name: _way(name, model) for name in names}

    def work(name: str) -> Callable[[], None]:
        def decode() -> None:
            written[name] = ways[name](prompt, sizes["new_tokens"])
            wait(device)

        return decode

    for decode in ways.values():
        decode(prompt, 2)
    times = in_turn({name: work(name) for name in names}, sizes["repeats"], warmup=0)
    say(f"{len(names)} ways timed")
    exact = {name: tokens for name, tokens in written.items() if name != "int8"}
    for tokens in exact.values():
        same_tokens(model, prompt, next(iter(exact.values())), tokens)
    return {name: Timing({"tokens": sizes["new_tokens"] / seconds}) for name, seconds in times.items()}


@torch.inference_mode()
def without_cache(model: GPTModel, prompt: list[int], new_tokens: int) -> list[int]:
    """Send all tokens through the model for every new one, as chapter 4 does."""
    ids = torch.tensor([prompt], device=model.device)
    for _ in range(new_tokens):
        ids = torch.cat([ids, model(ids)[:, -1].argmax(dim=-1, keepdim=True)], dim=1)
    return ids[0, len(prompt) :].tolist()


@torch.inference_mode()
def with_cache(model: GPTModel, prompt: list[int], new_tokens: int, cache: Any) -> list[int]:
    """Send the newest token alone through the model; keys and values of the others are in the cache."""
    ids, new = torch.tensor([prompt], device=model.device), []
    for _ in range(new_tokens):
        ids = model(ids, cache=cache)[:, -1].argmax(dim=-1, keepdim=True)
        new.append(ids.item())
    return new


def _way(name: str, model: GPTModel) -> Decode:
    fused = copy.deepcopy(model)
    use_kernels(fused, "fused")
    engine = to_int8(fused) if name == "int8" else fused
    ways: dict[str, Decode] = {
        "without": partial(without_cache, model),
        "growing": lambda prompt, count: with_cache(model, prompt, count, GrowingCache(model.config.n_layers)),
        "preallocated": lambda prompt, count: with_cache(
            model, prompt, count, KVCache(model.config, 1, len(prompt) + count, model.device, torch.float32)
        ),
        **dict.fromkeys(("engine", "int8"), lambda prompt, count: generate(engine, [prompt], count)[0]),
    }
    return ways[name]


@torch.inference_mode()
def same_tokens(model: GPTModel, prompt: list[int], one: list[int], other: list[int]) -> bool:
    """Return whether two answers are equal; False where they part at two logits that tie up to rounding.

    Raises:
        ValueError: when they part elsewhere.
    """
    if one == other:
        return True
    place = next(number for number, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    logits = model(torch.tensor([prompt + one[:place]], device=model.device))[0, -1]
    gap = ((logits[one[place]] - logits[other[place]]).abs() / logits.std()).item()
    if gap > TIE:
        raise ValueError(f"expected the same tokens, found {one} and {other}: at {place} their logits differ by {gap}")
    return False
