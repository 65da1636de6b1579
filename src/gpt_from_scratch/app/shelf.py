"""The models that the page works with: found in a folder, loaded when they are first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiktoken import Encoding

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.pipeline.dvc import being_written
from gpt_from_scratch.report.about import About, about
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.classifier import ClassifierInfo, load_classifier
from gpt_from_scratch.weights.huggingface import load_config, load_facts, load_model

KEPT = 4
"""Models that stay in memory; the least recently used makes room for another."""

CLASSIFIER, INSTRUCT = "classifier", "instruct"


@dataclass(frozen=True)
class Loaded:
    """A frozen model in evaluation mode, on the CPU.

    Attributes:
        info: a classifier's labels and settings; None for a language model.
        facts: further facts from a language model's folder.
    """

    model: GPTModel
    tokenizer: Encoding
    info: ClassifierInfo | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Shelf:
    """The model folders under one folder, as the pipeline lays them out.

    Args:
        folder: holds `pretrain/`, `instruct/`, `classifier/` and `gpt2/<size>/`, or some of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._loaded: dict[str, tuple[object, Loaded]] = {}
        self._lock = threading.Lock()

    def language_models(self) -> list[str]:
        """Return the names of the language models there are, the pretrained one first."""
        found = [path.parent for path in self.folder.glob("**/model.safetensors")]
        names = [path.relative_to(self.folder).as_posix() for path in found if not (path / "classifier.json").exists()]
        return sorted(names, key=lambda name: (name != "pretrain", name))

    def language_model(self, name: str | None) -> Loaded:
        """Return a language model.

        Args:
            name: its folder, one of those that `language_models` returns, and no other; None: the first of them.

        Raises:
            InputError: when there is none of this name, or its files are damaged.
        """
        return self._get(self._known(name), _load_language_model)

    def config(self, name: str | None) -> GPTConfig:
        """Return a language model's shape; arguments and errors as in `language_model`."""
        return load_config(self.folder / self._known(name))

    def instruction_model(self) -> Loaded:
        """Return the model that follows instructions; errors as in `language_model`."""
        return self._get(INSTRUCT, _load_language_model)

    def base_of_instruction_model(self) -> Loaded:
        """Return the model that the one for instructions was trained from.

        Raises:
            InputError: when the folder does not say which, or has it no more.
        """
        base = self.instruction_model().facts.get("base")
        for name in self.language_models():
            if name.rpartition("/")[2] == base:  # the folder's own name is what a training notes
                return self.language_model(name)
        raise InputError(
            f"{self.folder}: expected the base model {base or 'that config.json names'} beside instruct, found none"
        )

    def classifier(self) -> Loaded:
        """Return the classifier; errors as in `language_model`."""
        return self._get(CLASSIFIER, _load_classifier)

    def about(self, name: str) -> About:
        """Return what a model is; of one that cannot be used, why not."""
        try:
            self._expect(name)
            return about(self.folder / name)
        except InputError as error:
            return About(name, str(error))

    def _known(self, name: str | None) -> str:
        names = self.language_models()
        if name is None:  # the page was opened before there was a model to choose
            name = next(iter(names), "pretrain")
            self._expect(name)
        if name not in names:
            if being_written(self.folder / name):
                self._expect(name)
            raise InputError(f"Model: expected one of {', '.join(names) or 'none, since none is there'}, found another")
        return name

    def _expect(self, name: str) -> None:
        path = self.folder / name / "model.safetensors"
        if not path.is_file():
            if being_written(path):
                raise InputError(f"{name}: the model is being written by dvc; ask again when that has ended")
            raise InputError(f"{path}: expected a trained model, found none; train it with: make repro")

    def _get(self, name: str, read: Callable[[Path], Loaded]) -> Loaded:
        self._expect(name)
        with self._lock:
            files = sorted((self.folder / name).iterdir())
            state = [(file.name, found.st_ino, found.st_mtime_ns) for file in files if (found := file.stat())]
            before, loaded = self._loaded.pop(name, (None, None))
            if loaded is None or before != state:  # a stage has trained it anew
                loaded = read(self.folder / name)
            self._loaded[name] = state, loaded
            while len(self._loaded) > KEPT:
                del self._loaded[next(iter(self._loaded))]
        return loaded


def _load_language_model(folder: Path) -> Loaded:
    return Loaded(load_model(folder).requires_grad_(False), load_tokenizer(folder), facts=load_facts(folder))


def _load_classifier(folder: Path) -> Loaded:
    model, info = load_classifier(folder)
    return Loaded(model.requires_grad_(False), load_tokenizer(folder), info)
