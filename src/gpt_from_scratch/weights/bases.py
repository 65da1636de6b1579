"""The folder `models/gpt2`: the pretrained models that fine-tunings start from (chapter 5, section 5.5)."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_from_scratch.data.raw.files import raw_file
from gpt_from_scratch.data.raw.sources import gpt2_checkpoint, gpt2_huggingface
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.enlarged import add_tokens
from gpt_from_scratch.weights.gpt2 import convert_checkpoint, convert_huggingface
from gpt_from_scratch.weights.layout import parameter_count
from gpt_from_scratch.weights.synthetic import write_synthetic_checkpoint

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from gpt_from_scratch.data.fetch.download import Downloads
    from gpt_from_scratch.params.sections import DownloadGpt2, Params


def provide_bases(params: Params, root: Path, downloads: Downloads) -> None:
    """Write a model folder for every size that is asked for or that a fine-tuning starts from.

    Args:
        params: all parameters: `download_gpt2`, and the bases of the fine-tunings.
        root: the project's folder.
        downloads: where published files are fetched to and kept.

    Raises:
        InputError: when a file is missing, cannot be fetched or is damaged.
    """
    source, raw = params.download_gpt2.source, root / "data" / "raw"
    with new_folder(root / "models" / "gpt2") as models:
        for size in params.gpt2_sizes:
            destination = models / size
            destination.mkdir()
            if source == "synthetic":
                warn_of_cost(size, params.runtime.threads)
                with tempfile.TemporaryDirectory(dir=models) as checkpoint:
                    write_synthetic_base(params.download_gpt2, size, raw_file(raw, "bpe"), Path(checkpoint))
                    convert_checkpoint(Path(checkpoint), destination, facts={"pretrained": source})
            elif source == "path":
                folder = root / params.download_gpt2.path
                convert_huggingface(folder, destination, {"pretrained": source}, raw_file(raw, "bpe"))
            else:
                convert_download(source, size, downloads, destination)
            if params.download_gpt2.add_tokens:
                add_tokens(destination, params.download_gpt2.add_tokens)


def warn_of_cost(size: str, threads: int) -> None:
    """Say before it begins what random weights of a published size cost; `tiny` is made for them."""
    if size != "tiny":
        number = parameter_count(GPT2_SIZES[size])
        log.warning(
            "%s: %.0f million random weights, %.1f GB on disk: they know no language, and a fine-tuning of them on the "
            "CPU (%s) may take days; for a try take the base gpt2/tiny",
            size,
            number / 1e6,
            4e-9 * number,
            f"{threads} threads" if threads else "all cores",
        )


def convert_download(source: str, size: str, downloads: Downloads, destination: Path) -> None:
    """Fetch a published model and convert it; the fetched files are kept for the next time."""
    sources = gpt2_checkpoint(size) if source == "openai" else gpt2_huggingface(size)
    convert = convert_checkpoint if source == "openai" else convert_huggingface
    folder = downloads.fetch_all(sources, downloads.folder / f"{size}-{source}")
    try:
        convert(folder, destination, facts={"pretrained": source})
    except InputError as error:
        # Not every file's hash is known beforehand: a damaged one would be found again at every start.
        raise InputError(f"{error}; if a file is damaged, remove {folder} and run the stage again") from None


def write_synthetic_base(params: DownloadGpt2, size: str, tokenizer: Path, checkpoint: Path) -> None:
    """Write a checkpoint of random weights: of a published size, or of `tiny`, whose shape the parameters give."""
    vocab_size = load_tokenizer(tokenizer).n_vocab
    shape = GPTConfig(**dict(params.tiny)) if size == "tiny" else GPT2_SIZES[size]
    write_synthetic_checkpoint(replace(shape, vocab_size=vocab_size), params.seed, checkpoint, tokenizer)
