"""`model.safetensors`: tensors by name, checked before any of them is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gpt_from_scratch.errors import InputError, named, reason, shown
from gpt_from_scratch.reading import parse_json
from gpt_from_scratch.weights.layout import GPT2Tensor, check_finite

FILE = "model.safetensors"
PREFIX = "transformer."
"""What Hugging Face puts before the body's tensors in a model with a head; its oldest files lack it."""

_HEADS = ("lm_head.", "score.")
_MASKS = re.compile(r"h\.\d+\.attn\.(masked_)?bias")
_FLOATS = ("F32", "F16", "BF16", "F64")
_LARGEST_HEADER = 2**24  # bytes; the largest GPT-2's has some 60,000


def write_tensors(folder: Path, tensors: Iterable[tuple[GPT2Tensor, Tensor]]) -> None:
    """Write tensors as stored (contiguous, on the CPU); equal tensors give equal bytes."""
    named = {_written_name(tensor.huggingface): stored for tensor, stored in tensors}
    save_file(named, folder / FILE, metadata={"format": "pt"})
    (folder / FILE).chmod(0o644)  # safetensors lets nobody but the owner read it


class TensorFile:
    """The tensors of a model folder.

    Names count without `PREFIX`, and the causal masks that older files of Hugging Face hold are passed over.

    Raises:
        InputError: when the file is missing, cut off or not in the safetensors format, or names a tensor twice.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / FILE
        if not self.path.is_file():
            raise InputError(f"{self.path}: file not found")
        self._check_header()
        try:
            self._file: Any = safe_open(self.path, framework="pt", device="cpu")
            names = list(self._file.keys())
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"{self.path}: expected a whole safetensors file, found: {reason(error)}") from None
        self._names: dict[str, str] = {}
        for name in names:
            short = name.removeprefix(PREFIX)
            if self._names.setdefault(short, name) != name:
                raise InputError(f"{self.path}: tensor {named(short)}: expected one of this name, found two")
        self._names = {short: name for short, name in self._names.items() if not _MASKS.fullmatch(short)}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def check(self, expected: Iterable[GPT2Tensor]) -> None:
        """Hold names, shapes and types against what the model needs, reading none of the values.

        float16, bfloat16 and float64 are accepted beside float32.

        Raises:
            InputError: naming file, tensor, what was expected and what was found.
        """
        unexpected = set(self._names)
        for tensor in expected:
            name = tensor.huggingface
            if name not in self._names:
                raise InputError(
                    f"{self.path}: tensor {name}: expected shape {list(tensor.shape)}, found no such tensor"
                )
            unexpected.remove(name)
            found = self._file.get_slice(self._names[name])
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
        return check_finite(self._file.get_tensor(self._names[name]), f"{self.path}: tensor {name}")

    def _check_header(self) -> None:
        """Refuse what safetensors would read: a header of any size, and of two tensors of one name the last."""
        with self.path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = file.read(min(size, _LARGEST_HEADER + 1))
        if len(header) > _LARGEST_HEADER:
            raise InputError(f"{self.path}: expected a header of at most {_LARGEST_HEADER:,} bytes, found {size:,}")
        if len(header) == size > 0:
            parse_json(header.decode("utf-8", errors="replace"), f"{self.path}, header")


def _written_name(name: str) -> str:
    return name if name.startswith(_HEADS) else PREFIX + name
