"""Chapter 5's way to OpenAI's weights: a checkpoint as nested dictionaries of arrays, and those into a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.weights.layout import gpt2_tensors
from gpt_from_scratch.weights.openai import checked_entries, data_file, read_hparams, read_values
from gpt_from_scratch.weights.openai_entry import IndexEntry

Params = dict[str, Any]
"""`wte`, `wpe`, the final norm's `g` and `b`, and `blocks`, one dictionary per layer: `attn/c_attn/w` nested."""


def download_and_load_gpt2(model_size: str, models_dir: str | Path) -> tuple[dict[str, int], Params]:
    """Return the settings and weights of OpenAI's GPT-2, downloaded to `models_dir/model_size` where not there yet.

    A mirror of the files in `$GPT_MIRROR` is tried before the hosts.

    Raises:
        ValueError: for a size other than 124M, 355M, 774M and 1558M.
        InputError: when a file cannot be had.
    """
    from gpt_from_scratch.data.fetch.download import Downloads
    from gpt_from_scratch.data.raw.sources import gpt2_checkpoint

    if model_size not in GPT2_SIZES:
        raise ValueError(f"model_size: expected one of {', '.join(GPT2_SIZES)}, found {model_size!r}")
    folder = Path(models_dir) / model_size
    Downloads(folder, os.environ.get("GPT_MIRROR")).fetch_all(gpt2_checkpoint(model_size), folder)
    read_hparams(folder)  # refuses what is no shape of a model
    settings = read_json(folder / "hparams.json")
    return settings, load_gpt2_params_from_tf_ckpt(folder / "model.ckpt", settings)


def load_gpt2_params_from_tf_ckpt(ckpt_path: str | Path, settings: Mapping[str, int]) -> Params:
    """Read a TensorFlow checkpoint as nested dictionaries of arrays, without dimensions of size 1.

    Args:
        ckpt_path: the checkpoint's files up to `.index`.
        settings: `n_layer` is the number of blocks.

    Raises:
        InputError: when a file is missing or damaged, or the tensors are not those of a GPT-2 with so many blocks.
    """
    prefix = Path(ckpt_path)

    def shape_of(entries: Mapping[str, IndexEntry]) -> GPTConfig:
        shapes = [entries[name].shape if name in entries else () for name in ("model/wte", "model/wpe")]
        try:
            return _shape(*shapes, settings["n_layer"])
        except ValueError as error:
            raise InputError(f"{prefix}.index: expected a GPT-2, found: {error}") from None

    entries = checked_entries(prefix, shape_of)
    params: Params = {"blocks": [{} for _ in range(settings["n_layer"])]}
    with data_file(prefix).open("rb") as file:
        for name, entry in entries.items():
            target, keys = _place(params, name)
            for key in keys[:-1]:
                target = target.setdefault(key, {})
            target[keys[-1]] = np.squeeze(read_values(file, name, entry).numpy())
    return params


def assign(left: Tensor, right: Any) -> nn.Parameter:
    """Return the array `right` as a parameter.

    Raises:
        ValueError: when its shape is not that of `left`.
    """
    _check_shape("weight", left.shape, right.shape)
    return nn.Parameter(torch.as_tensor(right).clone())


def load_weights_into_gpt(gpt: nn.Module, params: Params) -> None:
    """Copy OpenAI's weights into a `GPTModel` in place; an output head of its own gets the token embedding's.

    Raises:
        ValueError: when the model lacks a parameter (its `qkv_bias` must be true, its `n_layers` those of `params`)
            or has one of another shape.
    """
    parameters = dict(gpt.named_parameters(remove_duplicate=False))
    shape = _shape(params["wte"].shape, params["wpe"].shape, len(params["blocks"]))
    _check_shape("transformer blocks", (len(gpt.trf_blocks),), (shape.n_layers,))
    sources = {}
    for tensor in gpt2_tensors(shape):
        target, keys = _place(params, tensor.openai)
        for key in keys:
            target = target[key]
        stored = torch.as_tensor(target)
        _check_shape(tensor.openai, tensor.shape, stored.shape)
        sources[tensor] = stored
        for name, part in zip(tensor.parameters, stored.chunk(len(tensor.parameters), dim=-1), strict=True):
            if name not in parameters:
                raise ValueError(f"{name}: expected in the model for OpenAI's {tensor.openai}, found no such parameter")
            _check_shape(name, parameters[name].shape, (part.T if tensor.transposed else part).shape)
    _check_shape("out_head.weight", gpt.out_head.weight.shape, params["wte"].shape)
    for tensor, stored in sources.items():
        tensor.into_parameters(stored, parameters)
    if gpt.out_head.weight is not gpt.tok_emb.weight:
        gpt.out_head.weight.data.copy_(gpt.tok_emb.weight.data)


def _shape(wte: tuple[int, ...], wpe: tuple[int, ...], n_layers: int) -> GPTConfig:
    """Return the shape of a model by its embeddings' shapes; the number of heads, which no tensor shows, is left at 1.

    Raises:
        ValueError: when there is no such model.
    """
    if len(wte) != 2 or len(wpe) != 2:
        raise ValueError(f"embeddings wte of shape {shown(list(wte))} and wpe of shape {shown(list(wpe))}")
    return GPTConfig(
        vocab_size=wte[0], context_length=wpe[0], emb_dim=wpe[1], n_heads=1, n_layers=n_layers, qkv_bias=True
    )


def _place(params: Params, name: str) -> tuple[Any, list[str]]:
    """Return the dictionary that a checkpoint's tensor belongs into, and its keys there."""
    _, first, *rest = name.split("/")
    if first.startswith("h"):
        return params["blocks"][int(first[1:])], rest
    return params, [rest[-1] if rest else first]


def _check_shape(what: str, expected: tuple[int, ...], found: tuple[int, ...]) -> None:
    if tuple(expected) != tuple(found):
        raise ValueError(f"{what}: expected shape {list(expected)}, found {list(found)}")
