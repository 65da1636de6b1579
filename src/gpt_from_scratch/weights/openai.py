"""OpenAI's GPT-2 checkpoints: TensorFlow's format, read tensor by tensor, without TensorFlow.

Nothing is trusted: the checkpoint must hold exactly the tensors that `hparams.json` implies, and every tensor's bytes
are compared with the CRC-32C in the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError, named, shown
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.weights.layout import GPT2Tensor, check_finite, empty_model, fill_model, gpt2_tensors
from gpt_from_scratch.weights.openai_entry import IndexEntry
from gpt_from_scratch.weights.openai_index import check_places, masked_crc32c, read_index

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
    cfg, prefix = read_hparams(folder), Path(folder) / CHECKPOINT
    return _read(prefix, checked_entries(prefix, lambda _: cfg), gpt2_tensors(cfg))


def checked_entries(prefix: Path, shape_of: Callable[[Mapping[str, IndexEntry]], GPTConfig]) -> dict[str, IndexEntry]:
    """Return what a checkpoint's index says of its tensors, held against a model's and against the data file.

    Args:
        prefix: the checkpoint's files up to `.index`.
        shape_of: returns the shape of the model, which it may take from what the index says.

    Raises:
        InputError: when a file is missing or damaged, or a tensor's name, shape or type is not the expected one.
    """
    index = Path(f"{prefix}.index")
    for file in (index, data_file(prefix)):
        if not file.is_file():
            raise InputError(f"{file}: file not found")
    entries = read_index(index)
    check_tensors(str(index), gpt2_tensors(shape_of(entries)), entries)
    check_places(index, entries, data_file(prefix).stat().st_size)
    return entries


def data_file(prefix: Path) -> Path:
    """Return the one file with the tensors' bytes of the checkpoint whose index is `prefix` with `.index`."""
    return Path(f"{prefix}.data-00000-of-00001")


def read_values(file: BinaryIO, name: str, entry: IndexEntry) -> Tensor:
    """Read one tensor of float32, in the shape that the checkpoint gives it.

    Raises:
        InputError: when its bytes have another checksum, or a value is not finite.
    """
    values = torch.empty(entry.shape)
    content = values.numpy().reshape(-1).view("uint8")
    file.seek(entry.offset)
    place = f"{file.name}: tensor {name}"
    if file.readinto(content.data) != entry.size or masked_crc32c(content) != entry.crc32c:
        raise InputError(f"{place}: expected a whole TensorFlow checkpoint, found: another checksum than the index has")
    return check_finite(values, place)


def check_tensors(path: str, expected: Iterable[GPT2Tensor], entries: Mapping[str, IndexEntry]) -> None:
    """Hold the tensors that an index lists against those of a model.

    Args:
        path: the index, for messages.
        entries: as `read_index` returns them.

    Raises:
        InputError: naming file, tensor, what was expected and what was found.
    """
    unexpected = set(entries)
    for tensor in expected:
        name, shape = tensor.openai, tensor.openai_shape
        if name not in entries:
            raise InputError(f"{path}: tensor {name}: expected shape {list(shape)}, found no such tensor")
        unexpected.remove(name)
        entry = entries[name]
        if (entry.shape, entry.type) != (shape, "float32"):
            raise InputError(
                f"{path}: tensor {name}: expected float32 of shape {list(shape)}, "
                f"found {entry.type} of shape {shown(list(entry.shape))}"
            )
    if unexpected:
        raise InputError(
            f"{path}: tensor {named(min(unexpected))}: expected no such tensor in a model of these hparams"
        )


def _read(
    prefix: Path, entries: Mapping[str, IndexEntry], tensors: Iterable[GPT2Tensor]
) -> Iterator[tuple[GPT2Tensor, Tensor]]:
    with data_file(prefix).open("rb") as file:
        for tensor in tensors:
            yield tensor, read_values(file, tensor.openai, entries[tensor.openai]).view(tensor.shape)


def _keys(content: Any) -> str:
    return named(", ".join(content) or "none") if isinstance(content, dict) else type(content).__name__
