"""Statistics of a data set before a training: sizes, lengths, duplicates, leaks between the splits.

Each function returns plain values, as JSON takes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from tiktoken import Encoding

from gpt_from_scratch.data.inspection.near_duplicates import NearDuplicates, near_duplicates, near_matches
from gpt_from_scratch.data.instructions.conversations import turns_of
from gpt_from_scratch.data.instructions.entries import (
    Entry,
    encode_entry,
    format_conversation,
    format_response,
    split_entries,
)
from gpt_from_scratch.data.instructions.prompts import PromptStyle
from gpt_from_scratch.data.messages.spam import fold, split_messages, split_statistics
from gpt_from_scratch.data.text.chunks import cut
from gpt_from_scratch.data.text.documents import Document
from gpt_from_scratch.data.text.shards import piece_text
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params.sections import SplitSpam
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT


def text_statistics(documents: Sequence[Document], tokenizer: Encoding) -> dict[str, Any]:
    """Return the characters, tokens and different tokens of texts of any size, in the memory of a piece of them."""
    characters = tokens = 0
    seen = np.zeros(tokenizer.n_vocab, bool)
    for piece in cut(documents):
        text = piece_text(piece)
        ids = tokenizer.encode(text, allowed_special={END_OF_TEXT})
        characters, tokens = characters + len(text), tokens + len(ids)
        seen[ids] = True
    return {
        "documents": len(documents),
        "characters": characters,
        "tokens": tokens,
        "unique_tokens": int(seen.sum()),
    }


def instruction_statistics(
    entries: Sequence[Entry],
    tokenizer: Encoding,
    *,
    train_fraction: float,
    test_fraction: float,
    max_length: int,
    threshold: float,
    most: int,
    style: PromptStyle = "alpaca",
) -> dict[str, Any]:
    """Return sizes, lengths and repetitions of instructions, and which test and validation entries training nearly has.

    Lengths are those of prompt and response together, as they are trained on. Entries are compared by instruction,
    input and output of all turns together, and numbered from 1 as they stand in the file.

    Args:
        train_fraction, test_fraction: of the split in file order.
        max_length: tokens that training cuts at.
        threshold: cosine from which two entries nearly equal each other.
        most: how many pairs to name.
        style: of prompt and response.
    """
    whole = [format_conversation(entry, style) + format_response(entry, style) for entry in entries]
    lengths = [len(encode_entry(tokenizer, entry, style)[0]) for entry in entries]
    keys = ("instruction", "input", "output")
    texts = ["\n".join(turn[key] for turn in turns_of(entry) for key in keys) for entry in entries]
    turns = [len(turns_of(entry)) for entry in entries]
    found = {
        "prompt_style": style,
        "entries": len(entries),
        "empty_inputs": sum(not entry["input"].strip() for entry in entries),
        **({"turns": distribution(turns)} if max(turns) > 1 else {}),
        "characters": distribution([len(text) for text in whole]),
        "tokens": distribution(lengths),
        f"longer_than_{max_length}_tokens": sum(length > max_length for length in lengths),
        "exact_duplicates": len(texts) - len(set(texts)),
        "near_duplicates": _named(near_duplicates(texts, threshold, most), texts, texts),
    }
    try:
        parts = split_entries(texts, train_fraction, test_fraction)
    except InputError as error:
        return {**found, "split": str(error)}
    train, test, validation = parts
    found["split"] = {"train": len(train), "test": len(test), "validation": len(validation)}
    for name, part, start in (("test", test, len(train)), ("validation", validation, len(train) + len(test))):
        leaks = near_matches(part, train, threshold, most)
        found[f"{name}_entries_near_training"] = _named(leaks, part, train, start)
    return found


def message_statistics(
    messages: pd.DataFrame,
    labels: Sequence[str],
    tokenizer: Encoding,
    split: SplitSpam,
    given: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return counts, lengths and repetitions of labelled messages, and what the sets of a split share.

    Args:
        messages: as `read_messages` or `read_table` returns them.
        labels: names of the classes.
        split: how they are split.
        given: see `split_messages`.
    """
    texts = messages["Text"]
    counts = messages["Label"].value_counts()
    several = messages.groupby("Text")["Label"].nunique() > 1
    found = {
        "messages": len(messages),
        "labels": {label: int(counts.get(label, 0)) for label in labels},
        "characters": distribution(texts.str.len().tolist()),
        "tokens": distribution([len(tokenizer.encode(text, disallowed_special=())) for text in texts]),
        "exact_duplicates": int(texts.duplicated().sum()),
        "folded_duplicates": int(texts.map(fold).duplicated().sum()),
        "texts_with_several_labels": int(several.sum()),
    }
    try:
        sets = split_messages(messages, **split.model_dump(), labels=labels, given=given)
    except InputError as error:
        return {**found, "split": str(error)}
    overlap = split_statistics(messages, sets, labels)["overlap_with_train"]
    return {
        **found,
        "split": {name: len(part) for name, part in sets.parts().items()},
        **{f"{name}_messages_in_training": counts for name, counts in overlap.items()},
    }


def distribution(lengths: Sequence[int]) -> dict[str, float]:
    """Return how lengths are distributed: the least, the median, the one that 95 % do not exceed, and the greatest."""
    median, high = (float(value) for value in np.quantile(lengths, (0.5, 0.95)))
    return {"min": min(lengths), "median": median, "95%": high, "max": max(lengths)}


def _named(found: NearDuplicates, texts: Sequence[str], others: Sequence[str], start: int = 0) -> dict[str, Any]:
    """Return what a search found with the texts themselves and their numbers in the file, from 1."""
    closest = [
        {
            "similarity": pair.similarity,
            "entry": start + pair.first + 1,
            "other": pair.second + 1,
            "text": texts[pair.first],
            "other_text": others[pair.second],
        }
        for pair in found.closest
    ]
    counted = {"entries": found.texts} if texts is not others else {"pairs": found.pairs, "entries": found.texts}
    return {**counted, "closest": closest}
