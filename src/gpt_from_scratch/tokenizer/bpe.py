"""GPT-2's byte-pair encoding through tiktoken, built from its two files (chapter 2, section 2.5).

tiktoken's own `get_encoding("gpt2")` downloads the files on the quiet; here they are always named.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tiktoken

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.reading import lines, read_text
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.tokenizer.added import END_OF_TEXT, AddedEncoding, AddedToken, read_added
from gpt_from_scratch.tokenizer.foreign import write_two_files

__all__ = ["END_OF_TEXT", "bpe_from_files", "load_tokenizer", "token_ids", "tokenizer_files", "two_files"]

PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
"""What GPT-2 splits a text into before any merging: contractions, words, numbers, signs, spaces.

The pattern of OpenAI's `encoder.py` with possessive quantifiers: the same pieces, and no backtracking over long
runs of spaces.
"""

_FILES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
_LARGEST_MERGES = 64 * 2**20  # bytes; GPT-2's have half a million
_GPT2_SIZE = 50257
_GPT2_PROBE = ("Hello, do you like tea?", [15496, 11, 466, 345, 588, 8887, 30])
_TIKTOKEN_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main"
_TIKTOKEN_FILES = ("encoder.json", "vocab.bpe")


def byte_symbols() -> dict[int, str]:
    """Return the printable character that stands for each byte in the files, in the order of GPT-2's first 256 ids.

    Visible Latin-1 characters stand for themselves, the other bytes for the characters from U+0100 on (`Ġ` is the
    space), as in `bytes_to_unicode` of OpenAI's `encoder.py`.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


def load_tokenizer(folder: Path) -> tiktoken.Encoding:
    """Load the tokenizer that lies in a folder, under OpenAI's or under Hugging Face's file names.

    `eot_token` is the id of `<|endoftext|>`, `n_vocab` the size of the vocabulary with its added tokens.

    Raises:
        InputError: when the folder holds no tokenizer or its files do not fit together.
    """
    with two_files(folder) as files:
        return bpe_from_files(*files, read_added(folder))


@contextmanager
def two_files(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Give a folder's vocabulary and merges as `tokenizer_files` does, or made from `tokenizer.json` for this block."""
    folder = Path(folder)
    alone = not any((folder / name).exists() for names in _FILES for name in names)
    if not (alone and (folder / "tokenizer.json").is_file()):
        yield tokenizer_files(folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        write_two_files(folder / "tokenizer.json", Path(temporary))
        yield tokenizer_files(Path(temporary))


def tokenizer_files(folder: Path) -> tuple[Path, Path]:
    """Return a folder's vocabulary and merges: `encoder.json` and `vocab.bpe`, or `vocab.json` and `merges.txt`."""
    folder = Path(folder)
    for vocabulary, merges in _FILES:
        if (folder / vocabulary).is_file() and (folder / merges).is_file():
            return folder / vocabulary, folder / merges
    raise InputError(
        f"{folder}: no tokenizer here: expected the files encoder.json and vocab.bpe, or vocab.json and merges.txt, or "
        "tokenizer.json"
    )


def token_ids(folder: Path) -> set[int]:
    """Return the ids that a folder's tokenizer has; none where it holds no tokenizer."""
    if not any((Path(folder) / name).is_file() for names in (*_FILES, ("tokenizer.json",)) for name in names):
        return set()
    with two_files(folder) as (vocabulary, _):
        return {*_read_vocabulary(vocabulary).values(), *(token.id for token in read_added(folder))}


def bpe_from_files(encoder_json: Path, vocab_bpe: Path, added: Sequence[AddedToken] = ()) -> tiktoken.Encoding:
    """Build the encoding from the vocabulary (JSON: token → id) and the merges (text: one pair a line).

    Args:
        added: further tokens, which are no results of merges.

    Raises:
        InputError: when a file is missing or malformed, when the two do not fit together, or when the ids do not
            follow the order of the merges (tiktoken takes an id for the merge's rank).
    """
    vocabulary = _read_vocabulary(Path(encoder_json))
    ids = dict(vocabulary)
    end_of_text = ids.pop(END_OF_TEXT, None)
    if end_of_text is None:
        raise InputError(f"{encoder_json}: expected an id for {END_OF_TEXT}, found none")
    symbols = byte_symbols()
    ranks = {}
    for byte, symbol in symbols.items():
        if symbol not in ids:
            raise InputError(f"{encoder_json}: expected an id for {symbol!r}, the byte {byte:#04x}, found none")
        ranks[bytes([byte])] = ids.pop(symbol)
    byte_of = {symbol: byte for byte, symbol in symbols.items()}
    known, last = set(byte_of), -1
    for line, parts in _read_merges(Path(vocab_bpe)):
        where = f"{vocab_bpe}, line {line}"
        if len(parts) != 2 or not known.issuperset(parts):
            raise InputError(
                f"{where}: expected two tokens that bytes or earlier lines make, found {shown(' '.join(parts))}"
            )
        token = "".join(parts)
        if token not in ids:
            raise InputError(f"{where}: expected a merge whose result has an id of its own, found {shown(token)}")
        rank = ids.pop(token)
        if rank <= last:
            raise InputError(
                f"{where}: expected ids in the order of the merges, found {rank} for {shown(token)} after {last}"
            )
        ranks[bytes(byte_of[symbol] for symbol in token)] = last = rank
        known.add(token)
    further = {token.content: token.id for token in added}
    if others := ids.keys() - further.keys():
        raise InputError(f"{encoder_json}: expected only bytes and results of merges, found {shown(min(others))}")
    names = {number: content for content, number in vocabulary.items()}
    for content, number in further.items():
        if names.get(number, content) != content or vocabulary.get(content, number) != number:
            raise InputError(f"{encoder_json}: added token {shown(content)}: expected an id of its own, found {number}")
    new = {word: number for word, number in further.items() if word not in vocabulary or word in ids}
    special = {END_OF_TEXT: end_of_text, **new}
    given = {"name": f"bpe-{len(vocabulary)}", "pat_str": PATTERN, "mergeable_ranks": ranks, "special_tokens": special}
    return AddedEncoding(added, **given) if added else tiktoken.Encoding(**given, explicit_n_vocab=len(vocabulary))


def find_gpt2_tokenizer() -> tiktoken.Encoding:
    """Return GPT-2's own tokenizer from wherever its files already are, for code that names no folder.

    Looked at in this order: what the pipeline has fetched (`data/raw/bpe` and `models/gpt2/*` of the project that the
    working folder lies in), the mirror `$GPT_MIRROR`, tiktoken's cache. Nothing is downloaded.

    Raises:
        InputError: when no place has them, saying which were looked at.
    """
    places = _gpt2_places()
    for vocabulary, merges in places:
        if vocabulary.is_file() and merges.is_file():
            encoding = bpe_from_files(vocabulary, merges)
            if encoding.n_vocab == _GPT2_SIZE and encoding.encode(_GPT2_PROBE[0]) == _GPT2_PROBE[1]:
                return encoding
    looked_at = ", ".join(dict.fromkeys(str(vocabulary.parent) for vocabulary, _ in places))
    raise InputError(
        f"GPT-2's tokenizer: expected encoder.json and vocab.bpe with {_GPT2_SIZE} tokens in one of {looked_at}, "
        "found none; fetch them with: make repro PROFILE=book, or set GPT_MIRROR to a folder that has them"
    )


def _gpt2_places() -> list[tuple[Path, Path]]:
    here = Path.cwd()
    project = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)
    places = [(project / "data/raw/bpe/encoder.json", project / "data/raw/bpe/vocab.bpe")]
    places += [(path, path.with_name("merges.txt")) for path in sorted(project.glob("models/gpt2/*/vocab.json"))]
    mirror = os.environ.get("GPT_MIRROR")
    if mirror and "://" not in mirror:
        folder = Path(mirror) / "gpt2/124M"
        places.append((folder / "encoder.json", folder / "vocab.bpe"))
    # tiktoken names a cached file after the address it came from.
    cache = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    folder = Path(cache) if cache else Path(tempfile.gettempdir()) / "data-gym-cache"
    cached = [folder / hashlib.sha1(f"{_TIKTOKEN_URL}/{name}".encode()).hexdigest() for name in _TIKTOKEN_FILES]
    return [*places, (cached[0], cached[1])]


def _read_vocabulary(path: Path) -> dict[str, int]:
    content: Any = read_json(path)
    if not isinstance(content, dict) or not all(type(value) is int for value in content.values()):
        raise InputError(f"{path}: expected a JSON object that gives each token its id")
    if sorted(content.values()) != list(range(len(content))):
        raise InputError(f"{path}: expected the ids 0 to {len(content) - 1}, each once")
    return content


def _read_merges(path: Path) -> list[tuple[int, list[str]]]:
    """Return line numbers and pairs; the first line may be a version, as in all of GPT-2's files."""
    content = lines(read_text(path, _LARGEST_MERGES))
    first = 1 if content[:1] and content[0].startswith("#version") else 0
    return [(number, line.split(" ")) for number, line in enumerate(content[first:], first + 1) if line]
