"""GPT-2 from its publishers' files to a model folder of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.huggingface import read_model_folder, write_model_folder
from gpt_from_scratch.weights.openai import read_hparams, read_tensors

_TOKENIZER_FILES = ("vocab.json", "merges.txt", "encoder.json", "vocab.bpe", "tokenizer.json")


def convert_checkpoint(
    checkpoint_folder: Path,
    destination: Path,
    tokenizer_folder: Path | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Turn a checkpoint in OpenAI's format into a model folder.

    Both formats store the same numbers in the same order, so each tensor only changes its name: the memory needed is
    one copy of the weights.

    Args:
        checkpoint_folder: `hparams.json`, `model.ckpt.index`, `model.ckpt.data-00000-of-00001`, and the tokenizer
            unless it lies elsewhere.
        destination: an existing folder.
        tokenizer_folder: where the tokenizer's files lie, if not in `checkpoint_folder`.
        facts: as in `save_model`.

    Raises:
        InputError: when a file is missing or damaged, or a tensor's name, shape or type is not the expected one.
    """
    cfg, tensors = read_hparams(checkpoint_folder), read_tensors(checkpoint_folder)
    write_model_folder(destination, cfg, tensors, tokenizer_folder or checkpoint_folder, facts)


def convert_huggingface(
    source_folder: Path,
    destination: Path,
    facts: Mapping[str, Any] | None = None,
    default_tokenizer: Path | None = None,
) -> None:
    """Turn a GPT-2 as Hugging Face publishes it into a model folder: checked, float32, without leftover buffers.

    Args:
        source_folder: `config.json`, `model.safetensors` or its shards, and the tokenizer: `vocab.json` and
            `merges.txt`, or `tokenizer.json`.
        destination: an existing folder.
        facts: as in `save_model`.
        default_tokenizer: folder of the tokenizer that a source without one gets, if their sizes are the same.

    Raises:
        InputError: as `load_model`, `load_tokenizer` do; when there is no tokenizer, and the default does not fit.
    """
    cfg, tensors = read_model_folder(source_folder)
    as_float32 = ((tensor, stored.float()) for tensor, stored in tensors)
    tokenizer = source_folder
    if default_tokenizer is not None and not any((Path(source_folder) / name).exists() for name in _TOKENIZER_FILES):
        tokenizer = default_tokenizer
        if (size := load_tokenizer(tokenizer).n_vocab) != cfg.vocab_size:
            wanted = "expected a tokenizer (vocab.json and merges.txt, or tokenizer.json), found none"
            raise InputError(f"{source_folder}: {wanted}; {tokenizer} has {size} tokens and the model {cfg.vocab_size}")
    write_model_folder(destination, replace(cfg, drop_rate=0.0), as_float32, tokenizer, facts)
