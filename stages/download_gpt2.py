"""Stage `download_gpt2`: OpenAI's weights, synthetic ones in their format (chapter 5), a folder → `models/gpt2`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

if __name__ == "__main__":
    from gpt_from_scratch.params.pins import pin_instructions

    pin_instructions(ROOT)

import tempfile
from dataclasses import replace

from gpt_from_scratch.data.fetch.download import download_all
from gpt_from_scratch.data.fetch.raw import raw_file
from gpt_from_scratch.data.fetch.sources import gpt2_checkpoint, gpt2_huggingface
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.pipeline.stage import Stage, run_stage
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.gpt2 import convert_checkpoint, convert_huggingface
from gpt_from_scratch.weights.synthetic import write_synthetic_checkpoint


def download_gpt2(stage: Stage) -> None:
    """Provide a model folder for every size that is asked for or that a fine-tuning starts from."""
    source = stage.params.download_gpt2.source
    with new_folder(stage.models / "gpt2") as models:
        for size in stage.params.gpt2_sizes:
            destination = models / size
            destination.mkdir()
            if source == "synthetic":
                with tempfile.TemporaryDirectory(dir=models) as checkpoint:
                    write_synthetic(stage, size, Path(checkpoint))
                    convert_checkpoint(Path(checkpoint), destination, facts={"pretrained": source})
            elif source == "path":
                folder = stage.root / stage.params.download_gpt2.path
                convert_huggingface(folder, destination, {"pretrained": source}, raw_file(stage.raw, "bpe"))
            else:
                convert_download(stage, source, size, destination)


def convert_download(stage: Stage, source: str, size: str, destination: Path) -> None:
    """Fetch a published model and convert it; what was fetched is kept for the next time."""
    sources = gpt2_checkpoint(size) if source == "openai" else gpt2_huggingface(size)
    convert = convert_checkpoint if source == "openai" else convert_huggingface
    kept = stage.downloads / f"{size}-{source}"
    folder = download_all(sources, kept, stage.mirror, offline=stage.params.runtime.offline)
    try:
        convert(folder, destination, facts={"pretrained": source})
    except InputError as error:
        # Not every file's hash is known beforehand: a damaged one would be found again at every start.
        raise InputError(f"{error}; if a file is damaged, remove {folder} and run the stage again") from None


def write_synthetic(stage: Stage, size: str, checkpoint: Path) -> None:
    """Write random weights of a published size, or of the size `tiny` from the parameters, with the BPE at hand."""
    params = stage.params.download_gpt2
    tokenizer = raw_file(stage.raw, "bpe")
    vocab_size = load_tokenizer(tokenizer).n_vocab
    shape = GPTConfig(**params.tiny.model_dump()) if size == "tiny" else GPT2_SIZES[size]
    write_synthetic_checkpoint(replace(shape, vocab_size=vocab_size), params.seed, checkpoint, tokenizer)


if __name__ == "__main__":
    run_stage("download_gpt2", ROOT, download_gpt2)
