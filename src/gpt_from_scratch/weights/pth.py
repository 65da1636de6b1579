"""The book's `.pth` files: `torch.save(model.state_dict(), "model.pth")` (chapters 5 to 7).

Such a file is a zip archive around a pickle, which is a program. This one is first looked through without being run,
and only what a file of tensors needs passes; then `torch.load` reads it with `weights_only`, which has its own list.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError, named, reason, shown
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.weights.layout import check_finite, empty_model, named_parameters

_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_NAMES = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Bool")),
}
"""What the pickle may refer to: tensors in dictionaries, an optimizer's among them."""

_REFERENCES = ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID")
"""Other ways to refer to something or to call it, which `torch.save` does not use."""

_LARGEST_PICKLE = 2**24  # bytes; without the tensors' values, the largest GPT-2's has some 100,000
_MASK = re.compile(r"trf_blocks\.\d+\.att\.mask")


def load_pth(path: Path, cfg: GPTConfig, n_outputs: int | None = None) -> GPTModel:
    """Read a model that the book's code saved, as float32 and in evaluation mode.

    The file holds the state alone, or with an optimizer's as `{"model_state_dict": ..., "optimizer_state_dict": ...}`.

    Args:
        cfg: the saved model's shape, which the file does not say.
        n_outputs: outputs of a classifier's head with a bias (chapter 6) in place of the language model's head.

    Raises:
        InputError: when the file is missing, damaged or anything but tensors, or a tensor's name, shape or type is
            not the expected one.
    """
    path = Path(path)
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:
        raise InputError(f"{path}: expected a whole file of tensors, found: {reason(error)}") from None
    if isinstance(content, dict) and "model_state_dict" in content:
        content = content["model_state_dict"]
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected tensors by name, found {type(content).__name__}")
    model = empty_model(cfg, n_outputs=n_outputs)
    _fill(named_parameters(model), content, path)
    if cfg.tie_weights and n_outputs is None and not torch.equal(content["out_head.weight"], content["tok_emb.weight"]):
        raise InputError(f"{path}: tensor out_head.weight: expected tok_emb.weight again (tie_weights is true)")
    return model.eval()


def save_pth(model: GPTModel, path: Path) -> None:
    """Write a model's state under the book's names, for `torch.load(path, weights_only=True)` of its code.

    With it go the causal masks, which the book's attention keeps as buffers: `GPTModel(cfg).load_state_dict(...)`
    then finds every name that it looks for, and none besides. A shared head is written under both of its names.
    """
    state = {name: values.detach().cpu() for name, values in model.state_dict().items()}
    length = model.config.context_length
    mask = torch.triu(torch.ones(length, length), diagonal=1)  # one in the file, whatever number of names it has
    for layer in range(model.config.n_layers):
        state[f"trf_blocks.{layer}.att.mask"] = mask
    torch.save(state, path)


def _check_archive(path: Path) -> None:
    """Refuse an archive that is damaged or holds more than its size, and a pickle that refers to more than tensors."""
    if not path.is_file():
        raise InputError(f"{path}: file not found")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(member.file_size for member in members) > path.stat().st_size:
                raise InputError(
                    f"{path}: expected an archive without compression, as torch.save writes, found one with"
                )
            pickles = [member for member in members if member.filename.endswith(".pkl")]
            if len(pickles) != 1 or pickles[0].file_size > _LARGEST_PICKLE:
                raise InputError(f"{path}: expected one list of tensors of at most {_LARGEST_PICKLE:,} bytes")
            if damaged := archive.testzip():  # torch.load compares no checksums
                raise InputError(f"{path}: expected the checksum of {named(damaged)}, found another")
            program = archive.read(pickles[0])
        for instruction, argument, _ in pickletools.genops(program):
            if instruction.name in _REFERENCES or (instruction.name == "GLOBAL" and argument not in _NAMES):
                found = named(argument.replace(" ", ".")) if isinstance(argument, str) else instruction.name
                raise InputError(f"{path}: expected tensors alone, found a reference to {found}")
    except InputError:
        raise
    except Exception as error:  # zipfile and pickletools let through what a malformed file makes of their arithmetic
        raise InputError(f"{path}: expected a file of torch.save, found: {reason(error)}") from None


def _fill(parameters: Mapping[str, Tensor], content: Mapping[Any, Any], path: Path) -> None:
    """Copy the file's tensors into the parameters of the same names."""
    for name, parameter in parameters.items():
        place = f"{path}: tensor {name}"
        if name not in content:
            raise InputError(f"{place}: expected shape {list(parameter.shape)}, found no such tensor")
        values = content[name]
        if not isinstance(values, Tensor) or values.device.type != "cpu" or values.layout != torch.strided:
            raise InputError(f"{place}: expected a tensor of plain values, found {shown(type(values).__name__)}")
        if values.shape != parameter.shape:
            found = shown(list(values.shape))
            raise InputError(f"{place}: expected shape {list(parameter.shape)}, found {found}")
        if values.dtype not in _TYPES:
            raise InputError(f"{place}: expected a type of float, found {values.dtype}")
        parameter.data.copy_(check_finite(values, place))
    for name in content:
        if name not in parameters and not (isinstance(name, str) and _MASK.fullmatch(name)):
            raise InputError(f"{path}: tensor {named(str(name))}: expected no such tensor in this model")
