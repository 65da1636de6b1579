"""The model that a fine-tuning starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.config import Kernels
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.weights.huggingface import load_config, load_facts, load_model, unknown_ids


def starting_model(
    folder: Path, initial_weights: Literal["base", "random"], drop_rate: float, kernels: Kernels
) -> tuple[GPTModel, dict[str, Any]]:
    """Return a model folder's model, or one of its shape with random weights, and what is known of the weights.

    Random weights come from PyTorch's global generator. `base_data` is what the base was trained on, if that is known.

    Raises:
        InputError: as `load_model` does.
    """
    if initial_weights == "base":
        facts = load_facts(folder)
        if "data" in facts:
            facts["base_data"] = facts.pop("data")
        return load_model(folder, drop_rate=drop_rate, kernels=kernels), {"base": folder.name, **facts}
    model = GPTModel(replace(load_config(folder), drop_rate=drop_rate, kernels=kernels))
    model.unknown_ids = unknown_ids(folder, model.config.vocab_size)
    return model, {"base": folder.name, "pretrained": "none"}


def check_length(key: str, length: int, context_length: int, base: str) -> None:
    """Check that a length that a parameter asks for fits into the base model's context.

    Args:
        key: the parameter's name.
        length, context_length: in tokens.
        base: the model's folder, under `models/`.

    Raises:
        InputError: when the sequences would be longer than the model takes.
    """
    if length > context_length:
        raise InputError(
            f"{key}: expected at most the context of models/{base}, {context_length} tokens, found {length}"
        )
