"""OpenAI's GPT-2 checkpoints: TensorFlow's format, read tensor by tensor.

Nothing is trusted: the checkpoint must hold exactly the tensors that `hparams.json` implies, and TensorFlow compares
every tensor's bytes with the CRC32C in the index.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError, named, reason, shown
from gpt_from_scratch.files import read_json
from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.weights.layout import GPT2Tensor, check_finite, empty_model, fill_model, gpt2_tensors
from gpt_from_scratch.weights.openai_index import check_places, read_index

CHECKPOINT = "model.ckpt"
HPARAMS = {
    "n_vocab": "vocab_size",
    "n_ctx": "context_length",
    "n_embd": "emb_dim",
    "n_head": "n_heads",
    "n_layer": "n_layers",
}
"""OpenAI's names of the sizes in `hparams.json`, and ours."""


def read_checkpoint(folder: Path) -> GPTModel:
    """Read a checkpoint as a model, in evaluation mode.

    Raises:
        InputError: when a file is missing or damaged, or a tensor's name, shape or type is not the expected one.
    """
    tensors = read_tensors(folder)
    model = empty_model(read_hparams(folder))
    fill_model(model, tensors, adopt=True)
    return model.eval()


def read_hparams(folder: Path) -> GPTConfig:
    """Read the shape of a checkpoint's model from its `hparams.json`."""
    path = Path(folder) / "hparams.json"
    content = read_json(path)
    if not isinstance(content, dict) or set(content) != set(HPARAMS):
        raise InputError(f"{path}: expected the keys {', '.join(HPARAMS)}, found {_keys(content)}")
    for key, value in content.items():
        if type(value) is not int or abs(value) >= 2**63:
            raise InputError(f"{path}: {key}: expected a whole number, found {shown(value)}")
    try:
        return replace(GPT2_SIZES["124M"], **{ours: content[theirs] for theirs, ours in HPARAMS.items()})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_tensors(folder: Path) -> Iterator[tuple[GPT2Tensor, Tensor]]:
    """Check names, shapes and types of a checkpoint at once, then yield its tensors one at a time.

    Raises:
        InputError: when a file is missing or damaged, or a tensor's name, shape or type is not the expected one.
    """
    cfg = read_hparams(folder)
    prefix = Path(folder) / CHECKPOINT
    index, data = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")
    for file in (index, data):
        if not file.is_file():
            raise InputError(f"{file}: file not found")
    tf = import_tensorflow()
    entries = read_index(index)
    shapes = {name: tuple(dim.size for dim in entry.shape.dim) for name, entry in entries.items()}
    types = {name: _type_name(tf, entry.dtype) for name, entry in entries.items()}
    check_tensors(str(index), gpt2_tensors(cfg), shapes, types)
    check_places(index, entries, data.stat().st_size)
    with _readable(str(index)):
        reader = tf.train.load_checkpoint(str(prefix))
    return _read(prefix, reader, gpt2_tensors(cfg))


def check_tensors(
    path: str, expected: Iterable[GPT2Tensor], shapes: dict[str, tuple[int, ...]], types: dict[str, str]
) -> None:
    """Hold the tensors that an index lists against those of a model.

    Args:
        path: the index, for messages.
        shapes: shape of each tensor by name.
        types: name of TensorFlow's type of each tensor.

    Raises:
        InputError: naming file, tensor, what was expected and what was found.
    """
    unexpected = set(shapes)
    for tensor in expected:
        name, shape = tensor.openai, tensor.openai_shape
        if name not in shapes:
            raise InputError(f"{path}: tensor {name}: expected shape {list(shape)}, found no such tensor")
        unexpected.remove(name)
        if (shapes[name], types[name]) != (shape, "float32"):
            raise InputError(
                f"{path}: tensor {name}: expected float32 of shape {list(shape)}, "
                f"found {types[name]} of shape {shown(list(shapes[name]))}"
            )
    if unexpected:
        raise InputError(
            f"{path}: tensor {named(min(unexpected))}: expected no such tensor in a model of these hparams"
        )


def import_tensorflow() -> Any:
    """Import TensorFlow, quietly; it takes seconds and some 700 MB."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # else it announces them; only its files are used here
    try:
        import tensorflow
    except ImportError:
        raise InputError(
            "TensorFlow: expected it installed to read OpenAI's format, found no such package; "
            "install tensorflow-cpu (or tensorflow), or set download_gpt2.source to huggingface"
        ) from None
    return tensorflow


def _read(prefix: Path, reader: Any, tensors: Iterable[GPT2Tensor]) -> Iterator[tuple[GPT2Tensor, Tensor]]:
    for tensor in tensors:
        with _readable(f"{prefix}.data-00000-of-00001", f"tensor {tensor.openai}: "):
            values = reader.get_tensor(tensor.openai)
        place = f"{prefix}.data-00000-of-00001: tensor {tensor.openai}"
        yield tensor, check_finite(torch.from_numpy(values).view(tensor.shape), place)


@contextmanager
def _readable(path: str, place: str = "") -> Iterator[None]:
    """Turn what TensorFlow raises for a damaged file, which may be anything down to IndexError, into one sentence."""
    try:
        yield
    except Exception as error:
        raise InputError(f"{path}: {place}expected a whole TensorFlow checkpoint, found: {reason(error)}") from error


def _keys(content: Any) -> str:
    return named(", ".join(content) or "none") if isinstance(content, dict) else type(content).__name__


def _type_name(tf: Any, number: int) -> str:
    try:
        return tf.dtypes.as_dtype(number).name
    except TypeError:
        return f"type {number}"
