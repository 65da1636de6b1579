"""What is checked of decoding on a device; see `gpu_checks`. It needs the base install alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from gpt_from_scratch.generation import generate
from gpt_from_scratch.generation.engine import decode_steps, generate_each
from gpt_from_scratch.generation.rows import STEPS_BEFORE_STATIC
from gpt_from_scratch.generation.sampling import GREEDY, Sampling
from gpt_from_scratch.model import GPTModel

from gpu_checks import tiny  # isort: skip

PROMPTS = ([3, 1, 4], [1, 5, 9, 2, 6], [7])
NEW = 24


@contextmanager
def static_after(device: torch.device, steps: int) -> Iterator[None]:
    """Let a step of constant shapes, on a GPU a CUDA graph, take over after so many steps with the same rows."""
    with mock.patch.dict(STEPS_BEFORE_STATIC, {device.type: steps}):
        yield


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Switch the deterministic algorithms, which take other kernels, such as for writing into the cache."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def model_on(device: torch.device, kernels: str) -> GPTModel:
    """Return a small model in evaluation mode, with the same weights each time."""
    torch.manual_seed(2)
    return GPTModel(tiny(context_length=40, kernels=kernels)).to(device).eval()


def check_decoding(device: torch.device, kernels: str, alike: bool) -> None:
    """Check cached and recorded decoding against recomputing every token, and against the CPU.

    Args:
        alike: whether the deterministic algorithms are on.
    """
    model = model_on(device, kernels)
    expected = generate(model_on(torch.device("cpu"), kernels), PROMPTS, NEW, use_cache=False)
    with deterministic(alike):
        assert generate(model, PROMPTS, NEW, use_cache=False) == expected
        for steps in (10**6, 2):  # never, and early
            with static_after(device, steps):
                assert generate(model, PROMPTS, NEW) == expected
                for prompt, row in zip(PROMPTS, expected, strict=True):
                    assert generate(model, [prompt], NEW) == [row]


def check_logits(device: torch.device, kernels: str) -> None:
    """Check the logits of every recorded step against those of cached ones, and that both draw the same tokens."""
    model = model_on(device, kernels)

    def steps(before: int, sampling: Sampling) -> tuple[Tensor, Tensor]:
        with static_after(device, before):
            found = decode_steps(model, PROMPTS, NEW, sampling)
            tokens, logits = (torch.stack(parts) for parts in zip(*found, strict=True))
        assert (tokens.device.type, logits.device.type) == (device.type, device.type)
        return tokens.cpu(), logits.cpu()

    for sampling in (GREEDY, Sampling(temperature=0.8, top_k=10, seed=5)):
        tokens, logits = steps(2, sampling)
        expected_tokens, expected_logits = steps(10**6, sampling)
        assert torch.equal(tokens, expected_tokens)
        torch.testing.assert_close(logits, expected_logits, rtol=1e-4, atol=1e-4)


def check_batches(device: torch.device) -> None:
    """Check rows that end and are replaced while others are under way, by which a recorded step becomes void."""
    model = model_on(device, "fused")
    prompts = [*PROMPTS, [12, 13], [14] * 9, [15, 16, 17]]
    alone = [generate(model, [prompt], NEW, use_cache=False)[0] for prompt in prompts]
    end = max(range(50), key=lambda token: sum(token in row for row in alone))
    expected = [row[: row.index(end)] if end in row else row for row in alone]
    assert len({len(row) for row in expected}) > 2  # or no row would end while others go on
    with static_after(device, 2):
        found = generate_each(model, prompts, NEW, eos_id=end, batch_size=3)
        assert sorted(found) == list(enumerate(expected))


def check_bf16(device: torch.device) -> None:
    """Check that bf16 weights decode, and give with recorded steps the logits of cached ones within their precision."""
    model = model_on(device, "fused").to(torch.bfloat16)
    found = []
    for steps in (2, 10**6):
        with static_after(device, steps):
            found.append(torch.stack([logits for _, logits in decode_steps(model, [PROMPTS[1]], 6)]).float().cpu())
    assert torch.isfinite(found[0]).all()
    torch.testing.assert_close(found[0][:4], found[1][:4], rtol=0.05, atol=0.05)
