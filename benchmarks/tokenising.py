"""Tokenising 100 MB of text into files of ids, beside tiktoken in one thread.

The text is drawn from a seed: sentences of the sample text in random order, some with a number. The tokenizer is the
sample's, which lies in the repository. `python -m benchmarks.tokenising [MEGABYTES ...]` measures memory and open files
for growing texts.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.row import Row
from gpt_from_scratch.data.text.documents import read_documents
from gpt_from_scratch.data.text.large_corpus import tokenised
from gpt_from_scratch.data.text.shards import Workers
from gpt_from_scratch.data.text.token_map import TokenMap
from gpt_from_scratch.experiments.timing import in_turn
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.ranks import usable_cores

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"
MEGABYTES = 100
SIZES = (50, 100, 200, 400)


def write_text(path: Path, megabytes: int, seed: int = 123) -> None:
    """Write a text of some 10⁶ · `megabytes` bytes."""
    text = (SAMPLE / "the-lighthouse.txt").read_text(encoding="utf-8")
    sentences = re.findall(r"[^.!?]+[.!?]+[\"’”_]?\s*", text)
    generator, size = random.Random(seed), 0
    with path.open("w", encoding="utf-8") as file:
        while size < megabytes * 10**6:
            part = "".join(generator.choices(sentences, k=1000)) + f"{generator.random()}\n\n"
            size += len(part.encode())
            file.write(part)


def rows() -> Iterator[Row]:
    """Yield the one row.

    Raises:
        AssertionError: when any token differs from tiktoken's.
    """
    encoding = load_tokenizer(SAMPLE / "bpe")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, kept, target = folder / "text.txt", folder / "kept", folder / "tiktoken.u16"
        write_text(source, MEGABYTES)
        found: list[TokenMap] = []

        def ours() -> None:
            shutil.rmtree(kept, ignore_errors=True)
            documents = read_documents([source], strip_gutenberg=False)
            found[:] = tokenised(documents, folder, SAMPLE / "bpe", kept, Workers(usable_cores()))[:1]

        def as_a_list() -> None:
            ids = encoding.encode_ordinary(source.read_text(encoding="utf-8"))
            np.array(ids, np.uint16).tofile(target)

        def as_an_array() -> None:
            ids = encoding.encode_to_numpy(source.read_text(encoding="utf-8"), disallowed_special=())
            ids.astype(np.uint16).tofile(target)

        tiktoken = f"tiktoken {version('tiktoken')}"
        works = {
            "ours": ours,
            f"{tiktoken} encode_ordinary": as_a_list,
            f"{tiktoken} encode_to_numpy": as_an_array,
        }
        seconds = in_turn(works, repeats=3)
        assert np.array_equal(np.fromfile(target, np.uint16), found[0][:]), "tokens differ from tiktoken's"
        yield Row(
            work=f"tokenising {MEGABYTES} MB of text into files of ids, {os.cpu_count()} cores",
            ours=seconds.pop("ours"),
            peers=seconds,
            agreement=f"all {len(found[0]):,} tokens equal",
            at_least=1.6,
        )


def memory(sizes: Iterable[int]) -> Iterator[tuple[int, float, float, int]]:
    """Yield megabytes of text, and of tokenising it the peak memory in MB, the seconds, and a process's open files.

    The memory is that of all processes together, each page that several share counted once (PSS), every 50 ms.
    """
    code = (
        "import sys; from pathlib import Path; from gpt_from_scratch.data.text.large_corpus import tokenised; "
        "from gpt_from_scratch.data.text.documents import read_documents; "
        "from gpt_from_scratch.data.text.shards import Workers; "
        "from gpt_from_scratch.training.ranks import usable_cores; "
        "workers = Workers(usable_cores()); "
        "source, tokenizer, kept = map(Path, sys.argv[1:]); "
        "tokenised(read_documents([source], False), source.parent, tokenizer, kept, workers)"
    )
    for megabytes in sizes:
        with tempfile.TemporaryDirectory() as name:
            source = Path(name) / "text.txt"
            write_text(source, megabytes)
            began = time.perf_counter()
            command = [sys.executable, "-c", code, str(source), str(SAMPLE / "bpe"), f"{name}/kept"]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            peak = most_files = 0
            while process.poll() is None:
                held, files = _held(process.pid)
                peak, most_files = max(peak, held), max(most_files, files)
                time.sleep(0.05)
            yield megabytes, peak / 1e6, time.perf_counter() - began, most_files


def _held(pid: int) -> tuple[int, int]:
    """Return the bytes of a process and of those that it has started, and the most files that one of them has open."""
    import psutil

    total = most_files = 0
    with contextlib.suppress(psutil.Error):  # one may end while it is looked at
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().pss
            most_files = max(most_files, process.num_fds())
    return total, most_files


if __name__ == "__main__":
    measured = list(memory(tuple(map(int, sys.argv[1:])) or SIZES))
    for megabytes, peak, seconds, files in measured:
        print(f"{megabytes} MB of text: peak {peak:.0f} MB, {seconds:.1f} s, at most {files} open files in a process")
    if len(measured) > 1:
        sizes, peaks, *_ = (np.array(column) for column in zip(*measured, strict=True))
        slope, start = np.polyfit(sizes, peaks, 1)
        print(f"{start:.0f} MB and {slope:.3f} MB more per MB of text")
