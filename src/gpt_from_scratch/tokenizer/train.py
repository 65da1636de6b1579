"""Training a byte-pair encoding (Sennrich et al. 2016) that is written in GPT-2's file format.

python -m gpt_from_scratch.tokenizer.train TEXT... --vocab-size N --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path

import regex

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.reading import read_text, with_line_feeds
from gpt_from_scratch.files.writing import write_text
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT, PATTERN, byte_symbols

Pair = tuple[int, int]


def train_bpe(texts: str | Iterable[str], vocab_size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn a vocabulary and merges from a text, or from several.

    Starting from the 256 bytes, the pair of neighbouring tokens that occurs most often becomes a new token, again
    and again; among equally frequent pairs the one with the smallest ids wins, the left id first. No token crosses
    the pieces that GPT-2's pattern cuts a text into, and `<|endoftext|>`, wherever the text has it, separates texts.

    Args:
        vocab_size: the 256 bytes, the merges' results and, last, `<|endoftext|>`.

    Returns:
        the id of each token and the merged pairs in order, both written in GPT-2's characters for bytes.

    Raises:
        InputError: when `vocab_size` is below 257, or the text has too few pairs that occur at least twice.
    """
    if vocab_size < 257:
        raise InputError(f"vocab_size: expected at least 257 (all bytes and {END_OF_TEXT}), found {vocab_size}")
    tokens = list(byte_symbols().values())
    words, frequencies = _split_into_words([texts] if isinstance(texts, str) else texts)
    counts, places = _count_pairs(words, frequencies)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapify(heap)
    merges = []
    while len(tokens) < vocab_size - 1:
        best = _pop_most_frequent(heap, counts)
        if best is None:
            raise InputError(
                f"vocab_size: expected at most {len(tokens) + 1}, all that this text has repeated pairs for, "
                f"found {vocab_size}"
            )
        left, right = best
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
        changed: set[Pair] = set()
        for place in places[best]:
            old, new = words[place], _merge(words[place], best, len(tokens) - 1)
            words[place] = new
            for pairs, sign in ((pairwise(old), -1), (pairwise(new), 1)):
                for pair in pairs:
                    counts[pair] += sign * frequencies[place]
                    changed.add(pair)
            for pair in pairwise(new):
                places[pair].add(place)
        for pair in changed:
            heappush(heap, (-counts[pair], pair))
    return {token: number for number, token in enumerate([*tokens, END_OF_TEXT])}, merges


def save_bpe(vocabulary: dict[str, int], merges: list[tuple[str, str]], folder: Path) -> None:
    """Write `encoder.json` and `vocab.bpe` as OpenAI wrote GPT-2's."""
    write_text(folder / "encoder.json", json.dumps(vocabulary))
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    write_text(folder / "vocab.bpe", "\n".join(lines) + "\n")


def _split_into_words(texts: Iterable[str]) -> tuple[list[list[int]], list[int]]:
    """Return the distinct pieces of the texts as ids of bytes, and how often each occurs."""
    occurrences: Counter[str] = Counter()
    for text in texts:
        for part in text.split(END_OF_TEXT):
            occurrences.update(regex.findall(PATTERN, part))
    ids = {byte: number for number, byte in enumerate(byte_symbols())}
    return [[ids[byte] for byte in word.encode("utf-8")] for word in occurrences], list(occurrences.values())


def _count_pairs(words: list[list[int]], frequencies: list[int]) -> tuple[Counter[Pair], defaultdict[Pair, set[int]]]:
    """Return how often each pair of neighbours occurs, and in which words."""
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for place, (word, frequency) in enumerate(zip(words, frequencies, strict=True)):
        for pair in pairwise(word):
            counts[pair] += frequency
            places[pair].add(place)
    return counts, places


def _pop_most_frequent(heap: list[tuple[int, Pair]], counts: Counter[Pair]) -> Pair | None:
    """Return the best pair that occurs at least twice; entries whose count is out of date are dropped."""
    while heap:
        negative, pair = heappop(heap)
        if -negative == counts[pair]:
            return pair if counts[pair] >= 2 else None
    return None


def _merge(word: list[int], pair: Pair, new: int) -> list[int]:
    """Replace a pair by a new id wherever it stands, from left to right."""
    merged, position = [], 0
    while position < len(word):
        if tuple(word[position : position + 2]) == pair:
            merged.append(new)
            position += 2
        else:
            merged.append(word[position])
            position += 1
    return merged


def main() -> None:
    """Train on text files and write the two files of the tokenizer."""
    parser = argparse.ArgumentParser(description="Train a byte-pair encoding and write it in GPT-2's file format.")
    parser.add_argument("texts", type=Path, nargs="+", metavar="TEXT", help="UTF-8 text files")
    parser.add_argument("--vocab-size", type=int, required=True, help="number of tokens in all")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where encoder.json and vocab.bpe go")
    arguments = parser.parse_args()
    try:
        text = END_OF_TEXT.join(with_line_feeds(read_text(path)) for path in arguments.texts)
        save_bpe(*train_bpe(text, arguments.vocab_size), arguments.out)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
