"""The files of the zero-shot benchmarks: in `data/benchmarks`, or from their hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_from_scratch.data.raw.sources import Source
from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.reading import parse_list, read_text

if TYPE_CHECKING:
    from gpt_from_scratch.data.fetch.download import Downloads


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's file.

    Attributes:
        file: its name in `data/benchmarks`.
        form: what it holds.
        source: its host's file; without a hash, that of the first download is held to.
    """

    file: str
    form: str
    source: Source


BENCHMARKS = {
    "lambada": Benchmark(
        "lambada.jsonl",
        'a line {"text": …} for each passage, as in lambada_test.jsonl',
        Source(
            "benchmarks/lambada_test.jsonl",
            ("https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",),
            sha256="4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
        ),
    ),
    "hellaswag": Benchmark(
        "hellaswag.jsonl",
        "a line with activity_label, ctx_a, ctx_b, endings and label for each item, as in hellaswag_val.jsonl",
        Source(
            "benchmarks/hellaswag_val.jsonl",
            ("https://raw.githubusercontent.com/rowanz/hellaswag/master/data/hellaswag_val.jsonl",),
        ),
    ),
    "wikitext": Benchmark(
        "wiki.test.raw",
        "the raw test text that WikiText-2 and WikiText-103 share",
        Source(
            "benchmarks/wikitext-2-raw-v1.zip",
            (
                "https://wikitext.smerity.com/wikitext-2-raw-v1.zip",
                "https://huggingface.co/datasets/ggml-org/ci/resolve/main/wikitext-2-raw-v1.zip",
            ),
            member="wikitext-2-raw/wiki.test.raw",
        ),
    ),
}
"""The benchmarks by their names in `evaluate.benchmarks`."""


def read_benchmarks(root: Path, names: Sequence[str], limit: int, downloads: Downloads | None) -> dict[str, list[Any]]:
    """Return each benchmark's first `limit` items, or all where that is 0.

    Args:
        root: the project's folder.
        downloads: where a file that `data/benchmarks` lacks is fetched to; None: it has to be there.

    Raises:
        InputError: when a file is missing, with the place to get it from, or is not of its form.
    """
    found = {}
    for name in names:
        path = _provided(root / "data" / "benchmarks", BENCHMARKS[name], downloads)
        items = articles(read_text(path)) if name == "wikitext" else _entries(path, name)
        if not items:
            raise InputError(f"{path}: expected {BENCHMARKS[name].form}, found nothing")
        found[name] = items[: limit or len(items)]
    return found


def articles(text: str) -> list[str]:
    """Return WikiText's articles, cut before each title as the harness's data set is."""
    pages: list[list[str]] = [[]]
    for line in text.split("\n"):
        flat = line.replace("= = =", "===").replace("= =", "==").strip()
        if flat.startswith("= ") and flat.endswith(" ="):
            pages.append([])
        pages[-1].append(line)
    return [page for page in map("\n".join, pages) if page.strip()]


def _provided(folder: Path, benchmark: Benchmark, downloads: Downloads | None) -> Path:
    own = folder / benchmark.file
    if own.is_file():
        return own
    missing = f"{own}: file not found: expected {benchmark.form}, from {benchmark.source.urls[0]}"
    if downloads is None:
        raise InputError(missing)
    kept = downloads.folder / "benchmarks" / benchmark.file
    try:
        downloads.fetch(benchmark.source, kept)
    except InputError as error:
        raise InputError(f"{missing}; {error}") from None
    return kept


def _entries(path: Path, name: str) -> list[dict[str, Any]]:
    content = parse_list(read_text(path), path)
    entries = content if isinstance(content, list) else [content]
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not (_is_passage if name == "lambada" else _is_question)(entry):
            raise InputError(f"{path}, entry {number}: expected {BENCHMARKS[name].form}, found {shown(entry)}")
    return entries


def _is_passage(entry: dict[str, Any]) -> bool:
    return isinstance(entry.get("text"), str)


def _is_question(entry: dict[str, Any]) -> bool:
    endings, label = entry.get("endings"), str(entry.get("label"))  # Hugging Face's copy has the label as a text
    texts = [*map(entry.get, ("activity_label", "ctx_a", "ctx_b")), *(endings if isinstance(endings, list) else [None])]
    return all(isinstance(text, str) for text in texts) and label.isdecimal() and int(label) < len(texts) - 3
