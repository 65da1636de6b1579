"""Tokenising a large corpus by all cores into files of ids, each finished at once and for good.

The work is a table with a row per shard, which `datasets` deals out to processes; `docs/corpora.md` says why it
was chosen. A finished shard bears the hash of its content in its name, so that what a killed run has left is taken up
where it ended, and a damaged shard is made again. On several machines with a folder in common each takes its share.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from gpt_from_scratch.data.text.chunks import Piece
from gpt_from_scratch.data.text.token_map import TYPE
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.reading import with_line_feeds
from gpt_from_scratch.files.writing import sha256, share, sync
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT, load_tokenizer

_NAME = re.compile(r"(\d{6})-([0-9a-f]{16})\.u16")
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class Workers:
    """The processes that tokenise.

    Attributes:
        number: at most so many.
        on_fork: called in every process that is forked, to end it with this one.
    """

    number: int = 1
    on_fork: Callable[[], object] = lambda: None


ONE_WORKER = Workers()
"""This process alone."""


def shard_files(folder: Path) -> dict[int, Path]:
    """Return the finished shards in a folder by number, in no order."""
    named = ((_NAME.fullmatch(path.name), path) for path in folder.glob("*.u16"))
    return {int(match[1]): path for match, path in named if match}


def write_shards(
    shards: Sequence[Sequence[Piece]],
    tokenizer_folder: Path,
    folder: Path,
    workers: Workers = ONE_WORKER,
    node: int = 0,
    nodes: int = 1,
) -> None:
    """Tokenise the shards that a folder lacks, with a progress bar.

    Args:
        shards: the pieces of each.
        tokenizer_folder: where the tokenizer's two files lie.
        folder: an existing one, where nobody else on this machine writes.
        workers: the processes to use.
        node, nodes: which of several machines this is, from 0, and how many they are.

    Raises:
        InputError: when a file is not the one any more that the pieces were cut from, or the tokenizer has more
            tokens than two bytes can tell apart.
    """
    if (size := load_tokenizer(tokenizer_folder).n_vocab) > 2 ** (8 * TYPE.itemsize):
        raise InputError(f"{tokenizer_folder}: expected at most 65536 tokens for a large corpus, found {size}")
    for leftover in folder.glob(f"{_UNFINISHED}{node}-*"):
        leftover.unlink()
    for path in shard_files(folder).values():
        if not sha256(path).startswith(_NAME.fullmatch(path.name)[2]):
            path.unlink()
    if len(shard_files(folder)) == len(shards):
        return
    logging.getLogger("datasets").setLevel(logging.WARNING)  # it would tell which other libraries it has found
    from datasets import Dataset
    from datasets.distributed import split_dataset_by_node

    columns = {name: [[getattr(piece, name) for piece in pieces] for pieces in shards] for name in Piece.__slots__}
    table = Dataset.from_dict({"number": list(range(len(shards))), **columns})
    table = split_dataset_by_node(table, rank=node, world_size=nodes)
    finished = shard_files(folder)
    table = table.select([row for row, number in enumerate(table["number"]) if number not in finished])
    processes = min(workers.number, len(table))
    if not processes:
        return
    with _no_orphans(workers.on_fork):
        table.map(
            _write_shard,
            fn_kwargs={"tokenizer": str(tokenizer_folder), "folder": str(folder), "node": node, "main": os.getpid()},
            num_proc=processes if processes > 1 else None,
            remove_columns=table.column_names,
            new_fingerprint=f"{node:016x}",  # else it would look at all that the function refers to
            desc="tokenising",
        )


def _write_shard(row: dict[str, Any], tokenizer: str, folder: str, node: int, main: int) -> dict[str, int]:
    """Write one shard and return its number of tokens."""
    if os.getpid() != main:
        _settle_worker()
    encoding, digest, tokens = _tokenizer(tokenizer), hashlib.sha256(), 0
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f"{_UNFINISHED}{node}-")
    with os.fdopen(descriptor, "wb") as file:
        for values in zip(*(row[name] for name in Piece.__slots__), strict=True):
            ids = piece_ids(Piece(*values), encoding).tobytes()
            file.write(ids)
            digest.update(ids)
            tokens += len(ids) // TYPE.itemsize
        file.flush()
        os.fsync(file.fileno())
    share(Path(temporary))
    Path(temporary).replace(Path(folder) / f"{row['number']:06}-{digest.hexdigest()[:16]}.u16")
    sync(Path(folder))
    return {"tokens": tokens}


def piece_ids(piece: Piece, encoding: tiktoken.Encoding) -> np.ndarray:
    """Return a piece's ids, after that of `<|endoftext|>` where it begins a document that follows another.

    Raises:
        InputError: as `piece_text` does.
    """
    text = piece_text(piece)
    if piece.follows:
        text = END_OF_TEXT + text
    return encoding.encode_to_numpy(text, allowed_special={END_OF_TEXT}).astype(TYPE)


def piece_text(piece: Piece) -> str:
    """Return a piece's text, with line feeds for its line ends.

    Raises:
        InputError: when the file has changed so that these bytes are no text.
    """
    with Path(piece.path).open("rb") as file:
        file.seek(piece.start)
        content = file.read(piece.end - piece.start)
    try:
        return with_line_feeds(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        at = piece.start + error.start
        raise InputError(f"{piece.path}: expected the text that it was, found no UTF-8 at byte {at}") from None


@cache
def _tokenizer(folder: str) -> tiktoken.Encoding:
    return load_tokenizer(Path(folder))


@cache
def _settle_worker() -> None:
    """Let this process end when it is told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


_on_fork: Callable[[], object] | None = None


@contextmanager
def _no_orphans(on_fork: Callable[[], object]) -> Iterator[None]:
    """Call `on_fork` in the processes that are forked in the block; `datasets` forks one to talk to the others too.

    Where processes are not forked but started anew, as on macOS, those of a killed run finish what they have begun.
    """
    global _on_fork
    _watch_forks()
    _on_fork = on_fork
    try:
        yield
    except Exception as error:
        if request := _request_to_end(error):
            raise request from None
        raise
    finally:
        _on_fork = None


def _request_to_end(error: BaseException | None) -> BaseException | None:
    """Return the request to end, if any, that `datasets` hides behind an error about its workers."""
    while error and not isinstance(error, KeyboardInterrupt | SystemExit):
        error = error.__context__
    return error


@cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=lambda: _on_fork() if _on_fork else None)
