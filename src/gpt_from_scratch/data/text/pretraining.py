"""The token ids of pretraining, for the stage that trains on them and the one that measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiktoken import Encoding

from gpt_from_scratch.data.fetch.raw import raw_file
from gpt_from_scratch.data.text.corpus import read_text, split_text
from gpt_from_scratch.data.text.large_corpus import open_corpus
from gpt_from_scratch.data.text.shards import Workers
from gpt_from_scratch.data.text.token_map import TokenMap
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.pipeline.stage import Stage
from gpt_from_scratch.pipeline.watchdog import end_with_parent
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT
from gpt_from_scratch.training.environment import usable_cores


@dataclass(frozen=True)
class PretrainingText:
    """What is trained on and what validates.

    Attributes:
        train, validation: token ids.
        path: the text or the folder of texts, in the project.
        sha256: of the text, or of all that decides a large corpus' ids.
        facts: what the results say of it, beside what they always say.
    """

    train: Sequence[int] | TokenMap
    validation: Sequence[int] | TokenMap
    path: Path
    sha256: str
    facts: dict[str, Any] = field(default_factory=dict)


def read_pretraining_text(stage: Stage, tokenizer: Encoding, tokenizer_folder: Path) -> PretrainingText:
    """Return the book's text, split by character and then tokenised (section 5.1.3), or a large corpus.

    That is tokenised first, unless it was before, and split by token.

    Raises:
        InputError: as `raw_file` or `open_corpus` do.
    """
    corpus, fraction = stage.params.pretrain.corpus, stage.params.pretrain.train_fraction
    if corpus.is_book:
        source = raw_file(stage.raw, "text.txt")
        texts = split_text(read_text(source), fraction)
        train, validation = (tokenizer.encode(text, allowed_special={END_OF_TEXT}) for text in texts)
        return PretrainingText(train, validation, source.relative_to(stage.root), sha256(source))
    workers = Workers(usable_cores(), end_with_parent)
    large = open_corpus(
        stage.root / corpus.path, corpus.files, corpus.strip_gutenberg, tokenizer_folder, stage.corpora, workers
    )
    facts = {"data": corpus.path, "corpus_documents": large.documents, "corpus_tokens": len(large.tokens)}
    return PretrainingText(*large.tokens.split(fraction), Path(corpus.path), large.key, facts)
