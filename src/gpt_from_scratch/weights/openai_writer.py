"""Checkpoints in OpenAI's format: what `openai.py` reads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import write_text
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.tokenizer.bpe import tokenizer_files
from gpt_from_scratch.weights.layout import GPT2Tensor
from gpt_from_scratch.weights.openai import CHECKPOINT, HPARAMS

_KERAS = "TF_USE_LEGACY_KERAS"


def write_checkpoint(
    folder: Path, cfg: GPTConfig, tensors: Iterable[tuple[GPT2Tensor, np.ndarray]], tokenizer_folder: Path
) -> None:
    """Write a checkpoint into an existing folder: the files of OpenAI's that are needed to read it, under their names.

    Args:
        cfg: the sizes for `hparams.json`.
        tensors: every tensor with its float32 values as stored; all are held in memory once.
        tokenizer_folder: where the tokenizer's two files lie.

    Raises:
        InputError: when TensorFlow is missing.
    """
    tf = import_tensorflow()
    # Through DLPack TensorFlow shares the arrays' memory, where it would copy them otherwise.
    values = {
        tensor.openai: tf.experimental.dlpack.from_dlpack(array.reshape(tensor.openai_shape).__dlpack__())
        for tensor, array in tensors
    }
    names = sorted(values)
    tf.raw_ops.SaveV2(
        prefix=str(folder / CHECKPOINT),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[values[name] for name in names],
    )
    write_text(
        folder / "checkpoint",
        f'model_checkpoint_path: "{CHECKPOINT}"\nall_model_checkpoint_paths: "{CHECKPOINT}"\n',
    )
    hparams = {theirs: getattr(cfg, ours) for theirs, ours in HPARAMS.items()}
    write_text(folder / "hparams.json", json.dumps(hparams, indent=2) + "\n")
    for source, name in zip(tokenizer_files(tokenizer_folder), ("encoder.json", "vocab.bpe"), strict=True):
        shutil.copyfile(source, folder / name)


def import_tensorflow() -> Any:
    """Import TensorFlow, quietly and mostly without Keras; it takes seconds and some 500 MB."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # else it announces them; only its files are used here
    # TensorFlow imports Keras with itself, half of the time. It goes without where it looks for Keras 2 and finds none.
    chosen = os.environ.get(_KERAS)
    os.environ.setdefault(_KERAS, "1")
    try:
        import tensorflow
    except ImportError:
        raise InputError(
            "TensorFlow: expected it installed to write synthetic weights in OpenAI's format, found no such package; "
            "install tensorflow-cpu (or tensorflow), or set download_gpt2.source to openai or huggingface"
        ) from None
    finally:
        if chosen is None:
            del os.environ[_KERAS]
    return tensorflow
