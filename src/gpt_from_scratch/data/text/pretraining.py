"""The token ids of pretraining: for the recipe that trains on them and the one that measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiktoken import Encoding

from gpt_from_scratch.data.raw.files import raw_file
from gpt_from_scratch.data.text.corpus import read_text, split_text
from gpt_from_scratch.data.text.large_corpus import open_corpus
from gpt_from_scratch.data.text.shards import ONE_WORKER, Workers
from gpt_from_scratch.data.text.token_map import TokenMap
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT

if TYPE_CHECKING:
    from gpt_from_scratch.params.trainings import Pretrain


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


def read_pretraining_text(
    params: Pretrain,
    root: Path,
    corpora: Path,
    tokenizer: Encoding,
    tokenizer_folder: Path,
    workers: Workers = ONE_WORKER,
) -> PretrainingText:
    """Return the book's text, split by character and then tokenised (section 5.1.3), or a large corpus.

    A large corpus is tokenised first, unless it was before, and split by token.

    Args:
        params: `corpus` and `train_fraction` are read.
        root: the project's folder.
        corpora: folder that keeps the token ids of large corpora.
        tokenizer_folder: folder of the tokenizer's files.
        workers: the processes that tokenise a large corpus.

    Raises:
        InputError: as `raw_file` or `open_corpus` do.
    """
    corpus, fraction = params.corpus, params.train_fraction
    if corpus.is_book:
        source = raw_file(root / "data" / "raw", "text.txt")
        texts = split_text(read_text(source), fraction)
        train, validation = (tokenizer.encode(text, allowed_special={END_OF_TEXT}) for text in texts)
        return PretrainingText(train, validation, source.relative_to(root), sha256(source))
    large = open_corpus(root / corpus.path, corpus.files, corpus.strip_gutenberg, tokenizer_folder, corpora, workers)
    facts = {"data": corpus.path, "corpus_documents": large.documents, "corpus_tokens": len(large.tokens)}
    return PretrainingText(*large.tokens.split(fraction), Path(corpus.path), large.key, facts)
