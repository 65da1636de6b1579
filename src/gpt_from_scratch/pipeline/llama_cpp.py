"""llama.cpp's converter, which makes a GGUF file of an exported model."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gpt_from_scratch.errors import InputError

CONVERTER = "convert_hf_to_gguf.py"


def gguf_path(folder: Path, *, force: bool) -> Path:
    """Return the file beside an exported folder that it is converted to.

    Raises:
        InputError: when it is there already without `force`, or is something else.
    """
    out = folder.with_name(f"{folder.name}.gguf")
    if out.is_dir() or (out.exists() and not force):
        raise InputError(f"{out}: exists already; --force replaces a file, or choose another name")
    return out


def to_gguf(folder: Path, *, force: bool = False) -> str:
    """Convert an exported folder by llama.cpp's converter; return the line to print: its command, where it is missing.

    It is looked for on the PATH and in the folder that the environment's LLAMA_CPP names.

    Raises:
        InputError: when it fails, or as `gguf_path` does; what was there stays.
    """
    out = gguf_path(folder, force=force)
    given = Path(os.environ.get("LLAMA_CPP", "")) / CONVERTER
    found = shutil.which(CONVERTER) or (str(given) if "LLAMA_CPP" in os.environ and given.is_file() else None)
    if found is None:
        return f"{CONVERTER} was not found (set LLAMA_CPP to llama.cpp's folder); run there: python {CONVERTER} " + (
            shlex.join([str(folder), "--outfile", str(out)])
        )
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as name:
        made = Path(name) / out.name  # an older file is no sign of success
        command = [sys.executable, found, str(folder), "--outfile", str(made)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode or not made.is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise InputError(f"{found}: expected {out}, found code {done.returncode}: {last}")
        made.replace(out)
    return f"{out}: written by {found}"
