"""The word tokenizers of chapter 2."""

from __future__ import annotations

import pytest

from gpt_from_scratch.tokenizer.simple import SimpleTokenizerV1, SimpleTokenizerV2, build_vocabulary, split_words

SPECIAL = ("<|endoftext|>", "<|unk|>")


def test_words_and_signs() -> None:
    assert split_words("Hello, world. Is it-- it?") == ["Hello", ",", "world", ".", "Is", "it", "--", "it", "?"]


def test_there_and_back() -> None:
    text = '"It\'s the last he painted, you know," Mrs. Gisburn said.'
    tokenizer = SimpleTokenizerV1(build_vocabulary(text))
    assert tokenizer.decode(tokenizer.encode(text)) == '" It\' s the last he painted, you know," Mrs. Gisburn said.'
    with pytest.raises(KeyError, match="Hello"):
        tokenizer.encode("Hello")


def test_unknown_words() -> None:
    tokenizer = SimpleTokenizerV2(build_vocabulary("In the sunlit terraces.", SPECIAL))
    assert tokenizer.encode("In the palace.") == [1, 4, 6, 0]
    assert tokenizer.decode(tokenizer.encode("In the palace. <|endoftext|>")) == "In the <|unk|>. <|endoftext|>"


def test_the_verdicts_vocabulary(mirror) -> None:
    text = (mirror / "the-verdict.txt").read_text(encoding="utf-8")
    assert len(split_words(text)) == 4690
    vocabulary = build_vocabulary(text)
    assert (len(vocabulary), list(vocabulary)[:3], vocabulary["yourself"]) == (1130, ["!", '"', "'"], 1129)
    extended = build_vocabulary(text, SPECIAL)
    assert (len(extended), extended["<|endoftext|>"], extended["<|unk|>"]) == (1132, 1130, 1131)


def test_the_books_examples(mirror) -> None:
    text = (mirror / "the-verdict.txt").read_text(encoding="utf-8")
    ids = SimpleTokenizerV1(build_vocabulary(text)).encode(
        '"It\'s the last he painted, you know,"\n           Mrs. Gisburn said with pardonable pride.'
    )
    assert ids == [1, 56, 2, 850, 988, 602, 533, 746, 5, 1126, 596, 5, 1, 67, 7, 38, 851, 1108, 754, 793, 7]
    tokenizer = SimpleTokenizerV2(build_vocabulary(text, SPECIAL))
    ids = tokenizer.encode("Hello, do you like tea? <|endoftext|> In the sunlit terraces of the palace.")
    assert ids == [1131, 5, 355, 1126, 628, 975, 10, 1130, 55, 988, 956, 984, 722, 988, 1131, 7]
    assert tokenizer.decode(ids) == "<|unk|>, do you like tea? <|endoftext|> In the sunlit terraces of the <|unk|>."
