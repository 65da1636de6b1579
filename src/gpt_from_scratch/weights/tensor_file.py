"""`model.safetensors`, whole or in shards: tensors by name, checked before any of them is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gpt_from_scratch.errors import InputError, named, reason, shown
from gpt_from_scratch.files.reading import parse_json
from gpt_from_scratch.files.writing import read_json, share
from gpt_from_scratch.weights.layout import GPT2Tensor, check_finite

FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Where large models lie in several files: which of them holds each tensor."""

PREFIX = "transformer."
"""What Hugging Face puts before the body's tensors in a model with a head; its oldest files lack it."""

_HEADS = ("lm_head.", "score.")
_MASKS = re.compile(r"h\.\d+\.attn\.(masked_)?bias")
_FLOATS = ("F32", "F16", "BF16", "F64")
_SHARD = re.compile(r"[\w][\w.-]*\.safetensors", re.ASCII)
_LARGEST_HEADER = 2**24  # bytes; the largest GPT-2's has some 60,000


def write_tensors(folder: Path, tensors: Iterable[tuple[GPT2Tensor, Tensor]]) -> None:
    """Write tensors as stored (contiguous, on the CPU); equal tensors give equal bytes."""
    named = {_written_name(tensor.huggingface): stored for tensor, stored in tensors}
    save_file(named, folder / FILE, metadata={"format": "pt"})
    share(folder / FILE)  # safetensors lets nobody but the owner read it


class TensorFile:
    """The tensors of a model folder, from `FILE` or from the files that `INDEX` lists.

    Names count without `PREFIX`, and the causal masks that older files of Hugging Face hold are passed over.

    Raises:
        InputError: when a file is missing, cut off or not in the safetensors format, names a tensor twice, or does
            not hold what the index says.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / FILE
        self._files: dict[str, tuple[Any, str]] = {}
        if self.path.is_file() or not (self.path.parent / INDEX).is_file():
            self._add(self.path, _open(self.path))
            return
        self.path = self.path.parent / INDEX
        for shard, names in _shards(self.path).items():
            path = self.path.parent / shard
            file = _open(path)
            if different := names ^ set(file.keys()):
                name = min(different)
                said, found = ("one", "none") if name in names else ("none", "one")
                raise InputError(
                    f"{self.path.parent / shard}: tensor {named(name)}: the index says {said}, found {found}"
                )
            self._add(path, file)

    def _add(self, path: Path, file: Any) -> None:
        for name in file.keys():  # noqa: SIM118, the file is no dictionary
            short = name.removeprefix(PREFIX)
            if short in self._files:
                raise InputError(f"{path}: tensor {named(short)}: expected one of this name, found two")
            if not _MASKS.fullmatch(short):
                self._files[short] = file, name

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def check(self, expected: Iterable[GPT2Tensor]) -> None:
        """Hold names, shapes and types against what the model needs, reading none of the values.

        float16, bfloat16 and float64 are accepted beside float32.

        Raises:
            InputError: naming file, tensor, what was expected and what was found.
        """
        unexpected = set(self._files)
        for tensor in expected:
            name = tensor.huggingface
            if name not in self._files:
                raise InputError(
                    f"{self.path}: tensor {name}: expected shape {list(tensor.shape)}, found no such tensor"
                )
            unexpected.remove(name)
            file, stored = self._files[name]
            found = file.get_slice(stored)
            if tuple(found.get_shape()) != tensor.shape:
                raise InputError(
                    f"{self.path}: tensor {name}: expected shape {list(tensor.shape)}, found {shown(found.get_shape())}"
                )
            if found.get_dtype() not in _FLOATS:
                raise InputError(
                    f"{self.path}: tensor {name}: expected a type of {', '.join(_FLOATS)}, found {found.get_dtype()}"
                )
        if unexpected:
            raise InputError(f"{self.path}: tensor {named(min(unexpected))}: expected no such tensor in this model")

    def read(self, tensors: Iterable[GPT2Tensor]) -> Iterator[tuple[GPT2Tensor, Tensor]]:
        """Yield each tensor with its values as stored, one at a time.

        Raises:
            InputError: when the values of a bias that the model lacks are not zero.
        """
        for tensor in tensors:
            values = self.values(tensor.huggingface)
            if not tensor.parameters and values.any():
                raise InputError(f"{self.path}: tensor {tensor.huggingface}: expected zeros (qkv_bias is false)")
            yield tensor, values

    def values(self, name: str) -> Tensor:
        """Return one tensor's values as stored.

        Raises:
            InputError: when one is not finite.
        """
        file, stored = self._files[name]
        return check_finite(file.get_tensor(stored), f"{self.path}: tensor {name}")


def _open(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: file not found")
    _check_header(path)
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: expected a whole safetensors file, found: {reason(error)}") from None


def _shards(index: Path) -> dict[str, set[str]]:
    """Return the names of the tensors in each file that an index lists; the files lie beside it."""
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index}: expected a weight_map that gives each tensor its file, found none")
    shards: dict[str, set[str]] = {}
    for name, shard in places.items():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise InputError(f"{index}: tensor {named(name)}: expected a .safetensors file here, found {shown(shard)}")
        shards.setdefault(shard, set()).add(name)
    return shards


def _check_header(path: Path) -> None:
    """Refuse what safetensors would read: a header of any size, and of two tensors of one name the last."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(min(size, _LARGEST_HEADER + 1))
    if len(header) > _LARGEST_HEADER:
        raise InputError(f"{path}: expected a header of at most {_LARGEST_HEADER:,} bytes, found {size:,}")
    if len(header) == size > 0:
        parse_json(header.decode("utf-8", errors="replace"), f"{path}, header")


def _written_name(name: str) -> str:
    return name if name.startswith(_HEADS) else PREFIX + name
