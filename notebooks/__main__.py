"""Runs notebooks from top to bottom, each in a fresh kernel, and keeps them with their outputs as .ipynb.

python -m notebooks [NOTEBOOK...] [--out FOLDER]

Exit code 1 when a cell raises or does not end; the others run all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / ".cache" / "notebooks"
CELL_SECONDS = 600


class ThisPython(KernelSpecManager):
    """Knows one kernel, of the Python that runs now; what is installed elsewhere under the same name plays no part."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return that kernel, whatever name is asked for."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def run(notebook: Path, out: Path) -> float:
    """Run a notebook in the folder that it lies in, write it with its outputs into `out`, and return the seconds.

    Raises:
        CellExecutionError: when a cell raises; what ran until then is written.
        CellTimeoutError: when a cell takes longer than `CELL_SECONDS`.
        DeadKernelError: when the kernel ends.
    """
    content = jupytext.read(notebook)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as profile:
        environment = {
            **os.environ,
            "IPYTHONDIR": profile,  # what a user's own start-up files do is no part of a notebook
            "HF_HUB_OFFLINE": "1",
            # The source that the notebooks lie beside comes before an installed one.
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent / "src"), os.environ.get("PYTHONPATH")])),
        }
        kernel = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=ThisPython(),
            transport="ipc",  # no port is opened
            connection_file=str(Path(profile) / "kernel.json"),
        )
        client = NotebookClient(
            content, km=kernel, timeout=CELL_SECONDS, resources={"metadata": {"path": str(notebook.parent)}}
        )

        async def to_the_end() -> None:
            try:
                await client.async_execute(env=environment)
            finally:
                await kernel.shutdown_kernel(now=True)  # the client leaves a kernel that it was given running

        try:
            asyncio.run(to_the_end())
        finally:
            out.mkdir(parents=True, exist_ok=True)
            nbformat.write(content, out / f"{notebook.stem}.ipynb")
    return time.monotonic() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks that are asked for, all four if none is; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks", description="Run the notebooks in fresh kernels.")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="percent-format .py files")
    parser.add_argument(
        "--out", type=Path, default=OUT, help="where the .ipynb files go; .cache/notebooks if not given"
    )
    asked = parser.parse_args(arguments)
    failed = []
    for notebook in asked.notebooks or sorted(HERE.glob("[0-9]*.py")):
        print(f"{notebook.name:28}", end="", flush=True)
        try:
            print(f"{run(notebook.resolve(), asked.out):6.1f} s", flush=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"failed:\n{error}", flush=True)
            failed.append(notebook.name)
    print(f"error: {', '.join(failed)} failed" if failed else f"With their outputs: {asked.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
