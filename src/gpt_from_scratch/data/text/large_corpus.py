"""A corpus of any size as token ids on disk: tokenised once, kept by the hash of all that decides it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from gpt_from_scratch.data.text.chunks import PIECE, SHARD, cut, shards
from gpt_from_scratch.data.text.documents import Document
from gpt_from_scratch.data.text.shards import ONE_WORKER, Workers, shard_files, write_shards
from gpt_from_scratch.data.text.token_map import TokenMap
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.tokenizer.bpe import tokenizer_files

log = logging.getLogger(__name__)


def tokenised(
    documents: Sequence[Document], root: Path, tokenizer_folder: Path, kept: Path, workers: Workers = ONE_WORKER
) -> tuple[TokenMap, str]:
    """Return documents as token ids, tokenised now unless they were before, and the hash of all that decides them.

    The documents follow one another in their order, with `<|endoftext|>` between them.

    Started by torchrun on several machines, each of which sees `kept`, they share the work.

    Args:
        root: the folder that the documents' names count from.
        tokenizer_folder: where the tokenizer's two files lie.
        kept: the folder for the ids of all corpora.
        workers: the processes that tokenise.
    """
    from filelock import FileLock

    facts = [[str(one.path.relative_to(root)), one.start, one.end, one.sha256] for one in documents]
    tokenizer = [sha256(file) for file in tokenizer_files(tokenizer_folder)]
    key = hashlib.sha256(json.dumps([facts, tokenizer, PIECE, SHARD, "line feeds"]).encode()).hexdigest()
    folder = kept / key[:16]
    folder.mkdir(parents=True, exist_ok=True)
    groups = list(shards(cut(documents)))
    node, nodes = (int(os.environ.get(name, value)) for name, value in (("GROUP_RANK", 0), ("GROUP_WORLD_SIZE", 1)))
    with FileLock(folder / f"{node}.lock"):
        write_shards(groups, tokenizer_folder, folder, workers, node, nodes)
    while len(finished := shard_files(folder)) < len(groups):
        log.info("%d of %d shards are there; waiting for the other machines'", len(finished), len(groups))
        time.sleep(5)
    tokens = TokenMap([finished[number] for number in range(len(groups))])
    log.info("%d files, %d tokens in %s", len(documents), len(tokens), folder)
    return tokens, key
