"""What holds for any text, not only for those somebody thought of."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiktoken import Encoding

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT, load_tokenizer
from gpt_from_scratch.tokenizer.simple import UNKNOWN, SimpleTokenizerV2, build_vocabulary, split_words
from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe

ENGLISH = "The  keeper's lamp, isn't it?\n\n\"Yes\" -- 12 lamps... "
TEXTS = st.lists(
    st.sampled_from([*ENGLISH, END_OF_TEXT, "<|", "|>", "'ll", "\r\n", "é", "東", "👩‍👩‍👧‍👦"])
    | st.characters(codec="utf-8")
).map("".join)


@pytest.fixture(scope="module")
def sample(root) -> Encoding:
    return load_tokenizer(root / "data/sample/bpe")


@settings(deadline=None, derandomize=True, max_examples=400)
@given(text=TEXTS)
def test_any_text_comes_back(sample, text) -> None:
    for ids in (sample.encode(text, disallowed_special=()), sample.encode(text, allowed_special="all")):
        assert all(0 <= number < sample.n_vocab for number in ids)
        assert sample.decode(ids) == text
    assert sample.eot_token not in sample.encode(text, disallowed_special=())
    assert sample.encode(text, allowed_special="all").count(sample.eot_token) == text.count(END_OF_TEXT)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(content=st.binary(max_size=60))
def test_any_bytes_come_back(sample, content) -> None:
    ids = sample._encode_bytes(content)
    assert sample.decode_bytes(ids) == content


@settings(deadline=None, derandomize=True, max_examples=60)
@given(text=TEXTS, other=TEXTS, vocab_size=st.integers(257, 300))
def test_whatever_is_learnt_can_be_loaded_and_reads_any_text(tmp_path_factory, text, other, vocab_size) -> None:
    try:
        vocabulary, merges = train_bpe(text * 2, vocab_size)
    except InputError:
        assume(False)
    assert (len(vocabulary), len(merges)) == (vocab_size, vocab_size - 257)
    folder = tmp_path_factory.mktemp("bpe")
    save_bpe(vocabulary, merges, folder)
    encoding = load_tokenizer(folder)
    for written in (text, other, text + other):
        assert encoding.decode(encoding.encode(written, disallowed_special=())) == written
    assert len(encoding.encode(text, disallowed_special=())) <= len(text.encode("utf-8"))
    assert train_bpe(text * 2, vocab_size) == (vocabulary, merges)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(text=TEXTS, other=TEXTS)
def test_the_word_tokenizer_keeps_the_words_it_knows_and_no_spacing(text, other) -> None:
    vocabulary = build_vocabulary(text, (END_OF_TEXT, UNKNOWN))
    tokenizer = SimpleTokenizerV2(vocabulary)
    for written in (text, other):
        ids = tokenizer.encode(written)
        words = [word if word in vocabulary else UNKNOWN for word in split_words(written)]
        assert split_words(tokenizer.decode(ids)) == words
        assert tokenizer.encode(tokenizer.decode(ids)) == ids
