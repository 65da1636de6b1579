"""The tokenizer and the token ids of pretraining: for the recipe that trains on them and the one that measures."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiktoken import Encoding

from gpt_from_scratch.data.raw.files import raw_file
from gpt_from_scratch.data.text.chunks import cut, split_documents
from gpt_from_scratch.data.text.corpus import read_text, split_text
from gpt_from_scratch.data.text.documents import Document, find_files, read_documents
from gpt_from_scratch.data.text.large_corpus import tokenised
from gpt_from_scratch.data.text.shards import ONE_WORKER, Workers, piece_text
from gpt_from_scratch.data.text.token_map import TokenMap
from gpt_from_scratch.files.writing import new_folder, sha256
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT
from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe

if TYPE_CHECKING:
    from gpt_from_scratch.params.trainings import Pretrain

log = logging.getLogger(__name__)

MOST_BYTES = 2**26
"""Text that a tokenizer is trained on; of a larger training part, pieces at equal distances."""


@dataclass(frozen=True)
class PretrainingText:
    """Token ids for training and validation, and their source.

    Attributes:
        train, validation: token ids.
        path: the text or the folder of texts, in the project.
        sha256: of the text, or of everything that determines a large corpus' ids.
        facts: for the model's folder and the metrics; nothing for the book's text.
    """

    train: Sequence[int] | TokenMap
    validation: Sequence[int] | TokenMap
    path: Path
    sha256: str
    facts: dict[str, Any] = field(default_factory=dict)


def pretraining_tokenizer(params: Pretrain, root: Path, corpora: Path) -> Path:
    """Return the folder of the tokenizer's two files: of `fetch_data`, or trained on the training part alone.

    A trained one is kept in `corpora`, by the hash of the text and the settings; training it again gives the same.

    Raises:
        InputError: as `raw_file` or `read_documents` do, or when the text is too short for `vocab_size`.
    """
    from filelock import FileLock

    if params.tokenizer == "gpt2":
        return raw_file(root / "data" / "raw", "bpe")
    texts: Iterable[str]
    if params.corpus.is_book:
        texts = [split_text(read_text(raw_file(root / "data" / "raw", "text.txt")), params.train_fraction)[0]]
        facts: list[Any] = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    else:
        documents, _ = split_documents(_documents(params, root), params.train_fraction)
        pieces = list(cut(documents))
        step = 1 + sum(piece.end - piece.start for piece in pieces) // MOST_BYTES
        texts = map(piece_text, pieces[::step])
        facts = [[one.sha256, one.start, one.end] for one in documents]
    key = hashlib.sha256(json.dumps([facts, params.vocab_size, MOST_BYTES]).encode()).hexdigest()
    folder = corpora / f"tokenizer-{key[:16]}"
    corpora.mkdir(parents=True, exist_ok=True)
    with FileLock(corpora / f"{folder.name}.lock"):
        if not folder.is_dir():
            log.info("training a tokenizer of %d tokens", params.vocab_size)
            with new_folder(folder) as new:
                save_bpe(*train_bpe(texts, params.vocab_size), new)
    return folder


def _documents(params: Pretrain, root: Path) -> list[Document]:
    corpus = params.corpus
    return read_documents(find_files(root / corpus.path, corpus.files), corpus.strip_gutenberg)


def read_pretraining_text(
    params: Pretrain,
    root: Path,
    corpora: Path,
    tokenizer: Encoding,
    tokenizer_folder: Path,
    workers: Workers = ONE_WORKER,
) -> PretrainingText:
    """Return the book's text, split by character and then tokenised (section 5.1.3), or a large corpus.

    A large corpus is tokenised first, unless it was before, and split by token; with a tokenizer of its own it is split
    by byte before, so that the tokenizer has not seen the validation part.

    Args:
        params: `corpus` and `train_fraction` are read.
        root: the project's folder.
        corpora: folder that keeps the token ids of large corpora.
        tokenizer_folder: folder of the tokenizer's files.
        workers: the processes that tokenise a large corpus.

    Raises:
        InputError: as `raw_file` or `read_documents` do.
    """
    corpus, fraction = params.corpus, params.train_fraction
    if corpus.is_book:
        source = raw_file(root / "data" / "raw", "text.txt")
        texts = split_text(read_text(source), fraction)
        train, validation = (tokenizer.encode(text, allowed_special={END_OF_TEXT}) for text in texts)
        return PretrainingText(train, validation, source.relative_to(root), sha256(source))
    documents, base = _documents(params, root), (root / corpus.path).parent
    own = params.tokenizer == "corpus"
    parts = split_documents(documents, fraction) if own else [documents]
    found = [tokenised(part, base, tokenizer_folder, corpora, workers) for part in parts]
    tokens = [ids for ids, _ in found] if own else found[0][0].split(fraction)
    key = hashlib.sha256("".join(key for _, key in found).encode()).hexdigest() if own else found[0][1]
    facts = {"data": corpus.path, "corpus_documents": len(documents), "corpus_tokens": sum(map(len, tokens))}
    return PretrainingText(*tokens, Path(corpus.path), key, facts)
