"""Runs notebooks from top to bottom and compares their outputs with the committed ones.

Each has a fresh kernel; as many run at once as there are cores.

python -m notebooks [NOTEBOOK...] [--write | --book-files] [--out FOLDER]

With --write the executed notebooks are written as .ipynb beside their sources, instead of being compared. Both use the
sample data alone, so that the outputs are the same on every machine; --book-files uses the book's files where they are
found. Exit code 1 when a cell raises or does not end, or an output differs; the others run all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from gpt_from_scratch.params.pins import PINS, has_effect, lacks_avx2
from gpt_from_scratch.training.ranks import usable_cores
from notebooks.executed import differences, normalise

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / ".cache" / "notebooks"
CELL_SECONDS = 600

# With the instruction sets pinned, every x86-64 processor with AVX2 prints the same digits; others have last bits of
# their own, in which a trained model's words may differ.
PINNED = has_effect() and not lacks_avx2()

# A version of Matplotlib in each picture would change the files with every update.
KERNEL_SETTINGS = 'c.InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Software": None}}\n'


class ThisPython(KernelSpecManager):
    """Knows one kernel, of the Python that runs now; what is installed elsewhere under the same name plays no part."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return that kernel, whatever name is asked for."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def kernel_environment(profile: Path, *, samples_only: bool) -> dict[str, str]:
    """Return a kernel's environment, in which nothing of this machine decides about the outputs.

    Args:
        profile: folder that stands for the user's IPython settings.
    """
    settings = profile / "profile_default" / "ipython_kernel_config.py"
    settings.parent.mkdir()
    settings.write_text(KERNEL_SETTINGS, encoding="utf-8")
    environment = {
        **os.environ,
        "IPYTHONDIR": str(profile),  # what a user's own start-up files do is no part of a notebook
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",  # sums are cut by the number of threads
        # The source that the notebooks lie beside comes before an installed one.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent / "src"), os.environ.get("PYTHONPATH")])),
    }
    if PINNED:
        environment |= PINS
    if samples_only:
        environment["GPT_SAMPLES_ONLY"] = "1"
    return environment


def run(notebook: Path, out: Path, *, samples_only: bool = True) -> float:
    """Run a notebook in the folder that it lies in, write it with its outputs into `out`, and return the seconds.

    Raises:
        CellExecutionError: when a cell raises; what ran until then is written.
        CellTimeoutError: when a cell takes longer than `CELL_SECONDS`.
        DeadKernelError: when the kernel ends.
    """
    content = jupytext.read(notebook)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as profile:
        environment = kernel_environment(Path(profile), samples_only=samples_only)
        kernel = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=ThisPython(),
            transport="ipc",  # no port is opened
            connection_file=str(Path(profile) / "kernel.json"),
        )
        client = NotebookClient(
            content,
            km=kernel,
            timeout=CELL_SECONDS,
            record_timing=False,
            resources={"metadata": {"path": str(notebook.parent)}},
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
            normalise(content, notebook.stem)
            nbformat.write(content, out / f"{notebook.stem}.ipynb")
    return time.monotonic() - began


def compare(notebook: Path, out: Path) -> list[str]:
    """Return what differs between a fresh run and the executed notebook beside the source, if there is one."""
    committed = notebook.with_suffix(".ipynb")
    if not committed.is_file():
        return []
    expected, found = (nbformat.read(path, as_version=4) for path in (committed, out / committed.name))
    return differences(expected, found, texts=PINNED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks that are asked for, all four if none is; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks", description="Run the notebooks in fresh kernels.")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="percent-format .py files")
    parser.add_argument(
        "--out", type=Path, default=OUT, help="where the .ipynb files go; .cache/notebooks if not given"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--write", action="store_true", help="write the .ipynb files beside their sources, to commit")
    kind.add_argument("--book-files", action="store_true", help="use the book's files where they are found")
    asked = parser.parse_args(arguments)
    failed, differ = [], []
    notebooks = [path.resolve() for path in asked.notebooks] or sorted(HERE.glob("[0-9]*.py"))
    with ThreadPoolExecutor(usable_cores()) as pool:  # a kernel computes on one core
        longest_first = sorted(notebooks, key=lambda path: -path.stat().st_size if path.is_file() else 0)
        at_work = {path: pool.submit(run, path, asked.out, samples_only=not asked.book_files) for path in longest_first}
        for notebook in notebooks:
            print(f"{notebook.name:28}", end="", flush=True)
            try:
                seconds = at_work[notebook].result()
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                print(f"failed:\n{error}", flush=True)
                failed.append(notebook.name)
                continue
            print(f"{seconds:6.1f} s", flush=True)
            if asked.write:
                shutil.copyfile(asked.out / f"{notebook.stem}.ipynb", notebook.with_suffix(".ipynb"))
            elif not asked.book_files and (found := compare(notebook, asked.out)):
                print(*found, sep="\n", flush=True)
                differ.append(notebook.name)
    if differ:
        print(f"error: {', '.join(differ)}: other outputs than the committed ones; if they are meant: make notebooks")
    if failed:
        print(f"error: {', '.join(failed)} failed")
    if not differ and not failed:
        print(f"With their outputs: {'beside their sources' if asked.write else asked.out}")
    return 1 if failed or differ else 0


if __name__ == "__main__":
    sys.exit(main())
