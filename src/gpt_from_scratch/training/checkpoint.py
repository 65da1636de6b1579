"""Checkpoints to resume from: a folder each, which is whole or not there.

Its files are written into a temporary folder beside it and confirmed by the disk before the folder gets its name; a
manifest holds their hashes. So a kill, a crash or a full disk at any moment leaves the checkpoint before it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import new_folder, sha256, write_text

log = logging.getLogger(__name__)

KEPT = 2
FORMAT = 1
MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d{9})")


@dataclass(frozen=True)
class Checkpoint:
    """One sound checkpoint.

    Attributes:
        path: its folder.
        step: the last update that it contains, from 0.
        state: what was saved beside the tensors, JSON values.
        about: how it was made.
        files: names of its files.
    """

    path: Path
    step: int
    state: dict[str, Any]
    about: dict[str, Any]
    files: frozenset[str]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors that were saved under a name, on the CPU; none if none were."""
        file = _file(self.path, name)
        return load_file(file) if file.name in self.files else {}


class Checkpoints:
    """The checkpoints of one training, in one folder; the newest two are kept.

    Args:
        folder: made when the first one is saved.
        about: how the training is run, noted in every checkpoint.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self._about = dict(about or {})

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Write a checkpoint and drop all but the newest two.

        Args:
            step: the last update that it contains, from 0.
            tensors: by file and by name; no two may share memory.
            state: JSON values.

        Raises:
            InputError: when the disk is full or fails; the checkpoints before this one are untouched.
        """
        path = self.folder / f"step-{step:09d}"
        try:
            with new_folder(path) as folder:
                for name, content in tensors.items():
                    save_file({key: value.detach().contiguous() for key, value in content.items()}, _file(folder, name))
                write_text(folder / "state.json", json.dumps(state))
                files = {file.name: _description(file) for file in sorted(folder.iterdir())}
                write_text(
                    folder / MANIFEST,
                    _sealed({"format": FORMAT, "step": step, "files": files, "about": self._about}),
                )
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path}: the checkpoint of step {step} could not be written ({reason}); those before it are "
                "untouched: make room and run the same command again to resume"
            ) from None
        for older in self._folders()[:-KEPT]:
            shutil.rmtree(older)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint whose every byte is as it was written; a damaged one is removed."""
        for leftover in self.folder.glob(".step-*"):
            shutil.rmtree(leftover)
        for path in reversed(self._folders()):
            try:
                return read_checkpoint(path)
            except InputError as error:
                log.warning("a damaged checkpoint is removed, and the one before it used: %s", error)
                shutil.rmtree(path)
        return None

    def size(self) -> int:
        """Return the bytes that the checkpoints take."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def remove(self) -> None:
        """Delete all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if _NAME.fullmatch(path.name))


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _description(file: Path) -> dict[str, Any]:
    return {"size": file.stat().st_size, "sha256": sha256(file)}


def _sealed(manifest: dict[str, Any]) -> str:
    """Return a manifest as text that ends with its own hash."""
    text = json.dumps(manifest, indent=2, sort_keys=True)
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n"


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in a folder.

    Raises:
        InputError: when it is not there, or a byte of it is not as it was written.
    """
    try:
        text = (path / MANIFEST).read_text(encoding="utf-8")
        manifest = json.loads(text.rpartition("}")[0] + "}")
    except (OSError, ValueError) as error:
        raise InputError(f"{path / MANIFEST}: expected a manifest, found: {error}") from None
    if text != _sealed(manifest) or manifest["format"] != FORMAT or path.name != f"step-{manifest['step']:09d}":
        raise InputError(f"{path / MANIFEST}: expected a manifest of format {FORMAT} and its hash, found others")
    for name, expected in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise InputError(f"{file}: file not found")
        if (found := _description(file)) != expected:
            raise InputError(f"{file}: expected {expected}, found {found}")
    # A loss may be NaN where a set is empty: Python's own JSON, which writes it, reads it too.
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    return Checkpoint(path, manifest["step"], state, manifest["about"], frozenset(manifest["files"]))
