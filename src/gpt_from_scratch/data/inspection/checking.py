"""Looking at data sets, of whichever of the three kinds they are: what `gpt data check` does."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from tiktoken import Encoding

from gpt_from_scratch.data.inspection.statistics import instruction_statistics, message_statistics, text_statistics
from gpt_from_scratch.data.instructions.reading import Objective, objectives_of, read_instructions
from gpt_from_scratch.data.messages.labelled import class_names, read_splits
from gpt_from_scratch.data.messages.spam import LABELS, read_messages
from gpt_from_scratch.data.messages.tables import is_table
from gpt_from_scratch.data.raw.files import named_file, raw_file
from gpt_from_scratch.data.text.documents import find_files, read_documents
from gpt_from_scratch.errors import InputError, named, shown
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.params.types import BOOK_INSTRUCTIONS
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.config_file import load_facts

_EXCERPT = 70


class Checker:
    """Measures data sets as the present parameters would use them.

    Args:
        root: the project's folder. Its tokenizer is the fetched one, or before that the sample's; for the text, and for
            what a model that starts from `pretrain` learns, the corpus's own where the parameters ask for it.
        params: the split, the longest sequence and the data sets that are looked at when none is named.
        threshold: cosine from which two instructions nearly equal each other.
        most: pairs of them to name.
        unchanged: whether the corpus is as it was when `models/pretrain` was trained.
    """

    def __init__(self, root: Path, params: Params, threshold: float, most: int, *, unchanged: bool = True) -> None:
        self._root, self._params = root, params
        self._threshold, self._most = threshold, most
        folders = (root / "data" / "raw" / "bpe", root / "data" / "sample" / "bpe")
        bpe = next((folder for folder in folders if folder.is_dir()), folders[0])
        self._fetched = self._named(bpe, load_tokenizer(bpe))
        self._corpus_unchanged = unchanged
        self._pretrained = self._own_tokenizer() if params.pretrain.tokenizer == "corpus" else self._fetched

    def present(self) -> Iterator[dict[str, Any]]:
        """Yield what is found in the three data sets of the parameters.

        Raises:
            InputError: when one of them was not fetched, or cannot be read.
        """
        raw, params = self._root / "data" / "raw", self._params
        corpus, data = params.pretrain.corpus, params.classify.data
        text = raw_file(raw, "text.txt") if corpus.is_book else self._root / corpus.path
        yield self._text(text, list(corpus.files), corpus.strip_gutenberg)
        messages = raw_file(raw, "SMSSpamCollection") if data.is_book else self._root / data.path
        yield self._messages(messages, data.text, data.label, data.header, data.encoding)
        yield self._instructions(named_file(raw, params.instruct.data), params.instruct.objective)

    def file(self, path: Path, *form: Any) -> dict[str, Any]:
        """Return what is found in one file or folder, as what `kind_of` takes it for.

        Args:
            form: of a table, see `read_splits`.

        Raises:
            InputError: when it cannot be read as what it is taken for.
        """
        kind = kind_of(path)
        if kind == "instructions":
            return self._instructions(path, "preferences" if objectives_of(path) == ["preferences"] else "answers")
        if kind == "plain text":
            return self._text(path, ["**/*.txt"], False)
        return self._messages(path, *form)

    def _instructions(self, path: Path, objective: Objective) -> dict[str, Any]:
        params = self._params.instruct
        tokenizer, name = self._tokenizer(params.base)
        found = instruction_statistics(
            read_instructions(path, objective, empty_answers=path != self._root / BOOK_INSTRUCTIONS),
            tokenizer,
            train_fraction=params.train_fraction,
            test_fraction=params.test_fraction,
            max_length=params.max_length,
            threshold=self._threshold,
            most=self._most,
            style=params.prompt_style,
        )
        return {**self._head(path, "instructions", name), "threshold": self._threshold, **found}

    def _messages(self, path: Path, *form: Any) -> dict[str, Any]:
        split, given = self._params.split_spam, {}
        if kind_of(path) == "the SMS Spam Collection":
            messages, labels = read_messages(path, split.recipe), LABELS
        else:
            given = {name: rows for name, (_, rows) in read_splits(path, *form).items()}
            messages = given.pop("train")
            labels = class_names(messages)
        tokenizer, name = self._tokenizer(self._params.classify.base)
        head = {**self._head(path, "labelled texts", name), "recipe": split.recipe}
        return {**head, **message_statistics(messages, labels, tokenizer, split, given)}

    def _text(self, path: Path, patterns: list[str], strip_gutenberg: bool) -> dict[str, Any]:
        documents = read_documents(find_files(path, patterns), strip_gutenberg)
        tokenizer, name = self._pretrained
        return {**self._head(path, "plain text", name), **text_statistics(documents, tokenizer)}

    def _tokenizer(self, base: str) -> tuple[Encoding, str]:
        """Return the tokenizer of a model that starts from `base`, and what it is called."""
        return self._pretrained if base == "pretrain" else self._fetched

    def _own_tokenizer(self) -> tuple[Encoding, str]:
        """Return the corpus's own tokenizer, from `models/pretrain` if that is of this corpus; else the fetched one."""
        corpus, folder = self._params.pretrain.corpus, self._root / "models" / "pretrain"
        sources = self._root / "data" / "raw" / "sources.json"
        data = corpus.path if not corpus.is_book else read_json(sources)["data"] if sources.is_file() else None
        fetched, name = self._fetched
        trained = self._corpus_unchanged and (folder / "config.json").is_file()
        if trained and load_facts(folder).get("data") == data:
            own = load_tokenizer(folder)
            if (
                own.n_vocab == self._params.pretrain.vocab_size
                and own.token_byte_values() != fetched.token_byte_values()
            ):
                return self._named(folder, own)
        return fetched, f"{name}; the corpus's own is not trained yet"

    def _named(self, folder: Path, tokenizer: Encoding) -> tuple[Encoding, str]:
        return tokenizer, f"{folder.relative_to(self._root)}, {tokenizer.n_vocab:,} tokens"

    def _head(self, path: Path, kind: str, tokenizer: str) -> dict[str, Any]:
        inside = path.is_relative_to(self._root)
        return {
            "file": str(path.relative_to(self._root) if inside else path),
            "kind": kind,
            "tokenizer": tokenizer,
        }


def kind_of(path: Path) -> Literal["instructions", "the SMS Spam Collection", "a table", "plain text"]:
    """Return what a file or folder is taken for.

    Instructions end in `.json` or `.jsonl`; a table in `.csv` or `.tsv`, or it is a folder with such splits; the first
    line of the collection begins as its lines do.

    Raises:
        InputError: when there is no such file or folder, or it cannot be read.
    """
    if path.is_dir():
        return "a table" if any(is_table(file) for file in path.iterdir()) else "plain text"
    if path.suffix.lower() in (".json", ".jsonl"):
        return "instructions"
    if is_table(path):
        return "a table"
    if not path.is_file():
        raise InputError(f"{path}: expected a file or a folder, found none")
    try:
        with path.open("rb") as file:
            begins = file.read(11).removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise InputError(f"{path}: could not be read: {error.strerror}") from None
    collection = begins.startswith(tuple(f"{label}\t".encode() for label in LABELS))
    return "the SMS Spam Collection" if collection else "plain text"


def as_table(found: Mapping[str, Any]) -> str:
    """Return what was found in a data set as lines for the terminal."""
    lines = [f"{found['file']}: {found['kind']}"]
    for key, value in list(found.items())[2:]:
        lines.append(f"  {key.replace('_', ' '):36}{_shown(value)}".rstrip())
        if isinstance(value, Mapping):
            lines += [_pair(pair) for pair in value.get("closest", ())]
    return "\n".join(lines)


def _pair(pair: Mapping[str, Any]) -> str:
    texts = (shown(pair[key][:_EXCERPT]) for key in ("text", "other_text"))
    left, right = (f"entry {pair[key]} {text}" for key, text in zip(("entry", "other"), texts, strict=True))
    return f"    {pair['similarity']:.3f}  {left}\n           {right}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{named(name)} {_shown(item)}" for name, item in value.items() if name != "closest")
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}" if isinstance(value, float) else str(value)
