"""Language models as folders that Hugging Face's `transformers` reads too.

A folder holds `config.json`, `model.safetensors` under the names of `GPT2LMHeadModel`, the tokenizer's files and
`generation_config.json`. The same model gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import write_json
from gpt_from_scratch.model.config import GPTConfig, Kernels
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.tokenizer.bpe import token_ids
from gpt_from_scratch.weights.config_file import load_config, load_facts, write_config, write_tokenizer
from gpt_from_scratch.weights.layout import GPT2Tensor, empty_model, fill_model, gpt2_tensors, named_parameters
from gpt_from_scratch.weights.tensor_file import TensorFile, write_tensors

__all__ = ["load_config", "load_facts", "load_model", "read_model_folder", "save_model", "write_model_folder"]


def save_model(model: GPTModel, folder: Path, tokenizer_folder: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write a language model and its tokenizer into an existing folder.

    Args:
        tokenizer_folder: where the tokenizer's two files lie, under OpenAI's or Hugging Face's names.
        facts: what else is to be known about the weights, such as `{"pretrained": "synthetic"}`; JSON values.

    Raises:
        InputError: when the tokenizer is unusable or has more tokens than the model.
    """
    tied = model.out_head.weight is model.tok_emb.weight
    cfg = replace(model.config, tie_weights=tied)
    parameters = named_parameters(model)
    tensors = ((tensor, tensor.from_parameters(parameters)) for tensor in _tensors(cfg))
    write_model_folder(folder, cfg, tensors, tokenizer_folder, facts)


def write_model_folder(
    folder: Path,
    cfg: GPTConfig,
    tensors: Iterable[tuple[GPT2Tensor, Tensor]],
    tokenizer_folder: Path,
    facts: Mapping[str, Any] | None,
) -> None:
    """Write a folder from tensors as stored: what `save_model` does, for weights that never were a `GPTModel`."""
    end_of_text = write_tokenizer(tokenizer_folder, folder, cfg)
    write_config(folder, cfg, "GPT2LMHeadModel", end_of_text, facts)
    write_json(folder / "generation_config.json", {"bos_token_id": end_of_text, "eos_token_id": end_of_text})
    write_tensors(folder, tensors)


def load_model(
    folder: Path, *, drop_rate: float = 0.0, kernels: Kernels = "fused", device: torch.device | str = "cpu"
) -> GPTModel:
    """Read a language model, ours or a GPT-2 of Hugging Face's, as float32 and in evaluation mode.

    Args:
        drop_rate: dropout probability for a training that follows.
        kernels: see `GPTConfig`.

    Raises:
        InputError: when a file is missing or damaged, or a tensor's name, shape or type is not the expected one;
            the message names file, tensor, what was expected and what was found.
    """
    cfg, tensors = read_model_folder(folder)
    model = empty_model(replace(cfg, drop_rate=drop_rate, kernels=kernels), device)
    fill_model(model, tensors)
    model.unknown_ids = unknown_ids(folder, cfg.vocab_size)
    return model.eval()


def unknown_ids(folder: Path, vocab_size: int) -> list[int]:
    """Return the ids that the tokenizer in a model's folder has no token for; none where there is no tokenizer."""
    known = token_ids(folder)
    return [number for number in range(vocab_size) if number not in known] if known else []


def read_model_folder(folder: Path) -> tuple[GPTConfig, Iterator[tuple[GPT2Tensor, Tensor]]]:
    """Check a folder's tensors at once and return them to be read one at a time: `load_model` without a model."""
    cfg = load_config(folder)
    file = TensorFile(folder)
    redundant_head = cfg.tie_weights and _head(cfg).huggingface in file
    file.check(chain(_tensors(cfg), [_head(cfg)]) if redundant_head else _tensors(cfg))
    if redundant_head and not torch.equal(file.values("lm_head.weight"), file.values("wte.weight")):
        raise InputError(f"{file.path}: tensor lm_head.weight: expected wte.weight again (tie_word_embeddings is true)")
    return cfg, file.read(_tensors(cfg))


def _tensors(cfg: GPTConfig) -> Iterator[GPT2Tensor]:
    yield from gpt2_tensors(cfg)
    if not cfg.tie_weights:
        yield _head(cfg)


def _head(cfg: GPTConfig) -> GPT2Tensor:
    return GPT2Tensor("", "lm_head.weight", (cfg.vocab_size, cfg.emb_dim), ("out_head.weight",))
