"""Helpers of the commands that use a model: finding it, the device, reading input, printing text."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.project import find_project

if TYPE_CHECKING:
    import torch
    from tiktoken import Encoding

    from gpt_from_scratch.model import GPTModel

PANEL = "Use the models"
"""Title that `gpt --help` lists these commands under."""

LARGEST_INPUT = 2**30
"""Bytes of a file of prompts or messages."""


def model_names() -> list[str]:
    """Return the project's model folders, as `--model` takes them; none outside of a project."""
    try:
        root = find_project()
    except InputError:
        return []
    return sorted(str(path.parent.relative_to(root)) for path in (root / "models").glob("**/config.json"))


def complete_model(incomplete: str) -> list[str]:
    """Return the model folders that begin with what was typed, for the shell's completion."""
    return [name for name in model_names() if name.startswith(incomplete)]


Device = Literal["auto", "cpu", "cuda", "mps"]
DeviceOption = Annotated[Device, typer.Option(help="auto: CUDA, else MPS, else the CPU.")]
ThreadsOption = Annotated[int, typer.Option(min=0, max=1024, help="CPU threads; 0: PyTorch's default.")]
Precision = Literal["fp32", "int8"]
PrecisionOption = Annotated[Precision, typer.Option(help="int8: 8-bit weights, faster on an x86-64 CPU, less exact.")]
TokensOption = Annotated[int, typer.Option(min=1, max=100_000, help="Most tokens to generate.")]
TemperatureOption = Annotated[
    float, typer.Option(min=0.0, help="0: greedy; 1: the model's own probabilities; higher: more random.")
]
TopKOption = Annotated[int | None, typer.Option(min=1, help="Sample among this many most likely tokens; default: all.")]
TopPOption = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Sample among the fewest tokens of this total probability; 1: all.")
]
MinPOption = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Sample among tokens at least this times as likely as the best; 0: all.")
]
PenaltyOption = Annotated[
    float, typer.Option("--repetition-penalty", help="Above 1: tokens that the text has are less likely; 0.01 to 100.")
]
StopOption = Annotated[
    list[str] | None, typer.Option(help="Text to stop at, not printed itself; may be given several times.")
]
SeedOption = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the sampling: same seed, same text.")]


def model_option(kind: str) -> typer.models.OptionInfo:
    """Return the option `--model`; `kind` says which folders will do."""
    return typer.Option(
        "--model", "-m", help=f"Folder of {kind}, from here or from the project.", autocompletion=complete_model
    )


def find_model(name: str) -> Path:
    """Return a model's folder: as named from the present folder, from the project, or from its models/.

    Raises:
        InputError: when there is none, with those there are.
    """
    places = [Path(name).expanduser()]
    try:
        root = find_project()
    except InputError:
        pass
    else:
        places += [root / name, root / "models" / name]
    for place in places:
        if (place / "config.json").is_file():
            return place
    known = model_names()
    cure = f"there are {', '.join(known)}" if known else "make repro trains the project's models"
    raise InputError(f"{name}: expected a model folder, found none with a config.json; {cure}")


def use_device(name: Device, threads: int = 0) -> torch.device:
    """Set the threads, and return the device.

    Raises:
        InputError: when it cannot be used here.
    """
    import torch

    from gpt_from_scratch.training.environment import choose_device

    if threads:
        torch.set_num_threads(threads)
    with own_words({"runtime.device": "--device"}):
        return choose_device(name)


def load_writer(folder: Path, device: torch.device, precision: Precision = "fp32") -> tuple[GPTModel, Encoding]:
    """Read a language model and its tokenizer.

    Raises:
        InputError: as `load_model` does, and for a classifier's folder.
    """
    from gpt_from_scratch.model.int8 import to_int8
    from gpt_from_scratch.tokenizer.bpe import load_tokenizer
    from gpt_from_scratch.weights.huggingface import load_model

    if (folder / "classifier.json").is_file():
        raise InputError(f"{folder}: expected a language model, found a classifier; try gpt classify")
    tokenizer = load_tokenizer(folder)
    model = load_model(folder, device=device)
    with own_words({"evaluate.weights: int8": "--precision int8", "runtime.device": "--device"}):
        return (to_int8(model) if precision == "int8" else model), tokenizer


def read_input(name: str, encoding: str = "utf-8") -> str:
    """Return the text of a file, or of standard input for `-`."""
    from gpt_from_scratch.files.reading import decode, read_text

    if name != "-":
        return read_text(Path(name).expanduser(), LARGEST_INPUT, encoding)
    content = sys.stdin.buffer.read(LARGEST_INPUT + 1)
    if len(content) > LARGEST_INPUT:
        raise InputError(f"standard input: expected at most {LARGEST_INPUT:,} bytes, found more")
    return decode(content, "standard input", encoding)


def read_argument(argument: str) -> str:
    """Return an argument's text, for `-` that of standard input with line feeds and without the last of them."""
    from gpt_from_scratch.files.reading import with_line_feeds

    return with_line_feeds(read_input("-")).removesuffix("\n") if argument == "-" else argument


def check_output(out: Path) -> Path:
    """Return the path of a file to write, a ~ at its beginning resolved; checked before the work that fills it.

    Raises:
        InputError: for a folder, or a place where none can be made.
    """
    out = out.expanduser()  # a shell leaves --out=~/file as it is
    above = next(path for path in out.absolute().parents if path.exists())
    if out.is_dir():
        raise InputError(f"{out}: expected a file to write, found a folder")
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise InputError(f"{out}: expected a place to write to, but {above} takes no file")
    return out


def write_output(text: str, out: Path | None) -> None:
    """Write to a file, whole or not at all, or to standard output."""
    from gpt_from_scratch.files.writing import write_text

    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out.expanduser(), text)


def printable(text: str) -> str:
    """Return a text without control characters where standard output is a terminal."""
    if not sys.stdout.isatty():
        return text
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def show(pieces: Iterator[str]) -> str:
    """Print pieces of text as they arrive, then a line end; return the whole text."""
    whole = []
    for piece in pieces:
        whole.append(piece)
        typer.echo(printable(piece), nl=False)
        sys.stdout.flush()
    typer.echo()
    return "".join(whole)


@contextmanager
def own_words(words: dict[str, str]) -> Iterator[None]:
    """Replace names of parameters in an error by those of the command's options."""
    try:
        yield
    except InputError as error:
        text = str(error)
        for theirs, ours in words.items():
            text = text.replace(theirs, ours)
        raise InputError(text) from None
