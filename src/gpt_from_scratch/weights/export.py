"""Export of model folders: Hugging Face's layout, or the book's `.pth`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import read_json, write_json, write_text
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.weights.classifier import ClassifierInfo, load_classifier, save_classifier
from gpt_from_scratch.weights.huggingface import load_facts, load_model, save_model
from gpt_from_scratch.weights.pth import load_pth, save_pth

Format = Literal["huggingface", "book"]
CLOSE = 1e-4
"""Most that a logit of what was written may differ from the model's."""
_PROBE_TOKENS = 32


def export_model(
    source: Path,
    destination: Path,
    *,
    form: Format = "huggingface",
    card: str | None = None,
    force: bool = False,
) -> float:
    """Write a model folder of ours in another's form, and check that it computes the same.

    Nothing stands at `destination` before the check has passed.

    Args:
        destination: a new folder, or for the book's form a new `.pth` file.
        card: text of the folder's README.md, if it is to have one.
        force: put it in the place of an earlier export.

    Returns:
        The largest difference between logits of the model and of what was written.

    Raises:
        InputError: when the source is no model folder, something stands at the destination, the logits differ, or the
            book's code could not compute them.
    """
    source, destination = Path(source), Path(destination)
    if form == "book" and destination.suffix.lower() != ".pth":
        raise InputError(f"{destination}: expected a name that ends in .pth, as the book's files do")
    with _placed(source, destination, force=force) as temporary:
        model, info = load_any(source)
        if form == "book" and not model.config.causal:
            raise InputError(f"{source}: expected a causal model, as the book's code always is, found one that is not")
        if form == "book":
            save_pth(model, temporary)
            written = load_pth(temporary, model.config, None if info is None else len(info.labels))
        else:
            temporary.mkdir()
            _write_folder(model, info, source, temporary)
            if card is not None:
                write_text(temporary / "README.md", card)
            written, _ = load_any(temporary)
        difference = largest_difference(model, written)
        if not difference <= CLOSE:
            raise InputError(f"{destination}: expected the model's logits, found some that differ by {difference:.3g}")
    return difference


def load_any(folder: Path) -> tuple[GPTModel, ClassifierInfo | None]:
    """Read a language model or a classifier, whichever a folder holds; a classifier's description with it."""
    if (Path(folder) / "classifier.json").is_file():
        return load_classifier(folder)
    return load_model(folder), None


def book_config(cfg: GPTConfig) -> dict[str, Any]:
    """Return the book's dictionary for the class that reads a `.pth` file."""
    names = ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers", "drop_rate", "qkv_bias")
    return {name: getattr(cfg, name) for name in names}


@torch.inference_mode()
def largest_difference(model: GPTModel, other: GPTModel) -> float:
    """Return how far the logits of two models lie apart, at most, over some random tokens."""
    cfg = model.config
    generator = torch.Generator().manual_seed(123)
    shape = (2, min(_PROBE_TOKENS, cfg.context_length))
    ids = torch.randint(cfg.vocab_size, shape, generator=generator)
    return float((model(ids) - other(ids)).abs().max())


def _write_folder(model: GPTModel, info: ClassifierInfo | None, source: Path, folder: Path) -> None:
    facts = load_facts(source)
    if info is None:
        save_model(model, folder, source, facts)
    else:
        about = {key: value for key, value in asdict(info).items() if key not in ("facts", "causal")}
        save_classifier(model, folder, source, **about, facts=facts)
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {"n_ctx": config["n_positions"]})  # llama.cpp's converter asks for it


@contextmanager
def _placed(source: Path, destination: Path, *, force: bool) -> Iterator[Path]:
    """Give a path beside the destination, and move what lies there to it when the block ends well."""
    if destination.resolve() in (source.resolve(), *source.resolve().parents):
        raise InputError(f"{destination}: expected another place than the model's own")
    if destination.exists():
        ours = (
            destination.is_file() if destination.suffix.lower() == ".pth" else (destination / "config.json").is_file()
        )
        if not force:
            raise InputError(f"{destination}: exists already; --force replaces it, or choose another name")
        if not ours:  # whatever it is, it is not an export
            raise InputError(f"{destination}: expected an earlier export to replace, found something else")
    if not destination.parent.is_dir():
        raise InputError(f"{destination.parent}: expected a folder for {destination.name}, found none")
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".export-") as name:
        temporary = Path(name) / destination.name
        yield temporary
        if destination.is_dir():
            destination.rename(Path(name) / "replaced")
        temporary.replace(destination)
