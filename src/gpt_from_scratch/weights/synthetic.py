"""Random weights in OpenAI's format, so that everything can be tried without OpenAI's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.weights.layout import GPT2Tensor, gpt2_tensors
from gpt_from_scratch.weights.openai_writer import write_checkpoint


def write_synthetic_checkpoint(cfg: GPTConfig, seed: int, folder: Path, tokenizer_folder: Path) -> None:
    """Write a checkpoint of random weights into an existing folder; one seed and shape give the same bytes.

    Args:
        cfg: the shape; dropout, kernels and the like play no part.
        tokenizer_folder: where the tokenizer's two files lie, which the checkpoint gets a copy of.
    """
    write_checkpoint(folder, cfg, synthetic_tensors(cfg, seed), tokenizer_folder)


def synthetic_tensors(cfg: GPTConfig, seed: int) -> Iterator[tuple[GPT2Tensor, np.ndarray]]:
    """Yield every tensor as OpenAI initialised it before training.

    Normal with standard deviation 0.02 (positions 0.01), projections onto the residual stream divided by
    √(2 · layers), biases 0, norms 1: `model.py` of OpenAI's repository and section 2.3 of Radford et al. 2019.
    """
    # NumPy draws the same numbers whatever vector instructions a processor has; torch does not.
    generator = np.random.default_rng(seed)
    for tensor in gpt2_tensors(cfg):
        if tensor.openai.endswith("/b"):
            yield tensor, np.zeros(tensor.shape, np.float32)
        elif tensor.openai.endswith("/g"):
            yield tensor, np.ones(tensor.shape, np.float32)
        else:
            values = generator.standard_normal(tensor.shape, np.float32)
            values *= np.float32(_standard_deviation(tensor.openai, cfg.n_layers))
            yield tensor, values


def _standard_deviation(name: str, n_layers: int) -> float:
    if name.endswith("/c_proj/w"):
        return 0.02 / (2 * n_layers) ** 0.5
    return 0.01 if name == "model/wpe" else 0.02
