"""Training a byte-pair encoding: against Hugging Face's trainer, a naive encoder, and its own files."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken import Encoding

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tokenizer.bpe import PATTERN, byte_symbols, load_tokenizer
from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe

TEXT = (
    "The keeper of the light kept the keys. He keeps them still, they say; the sea keeps its own.\n"
    "Banana bandana, aaaa aaa aaaaaa! Über naïve cafés – 1000 lamps, 1001 lamps?\n"
    "It's the keeper's lamp, isn't it?   Three   spaces.\n\n"
) * 3


def naive_encode(text: str, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> list[int]:
    """Merge every pair in the order of the list, everywhere, as the method is defined."""
    symbols, ids = byte_symbols(), []
    for word in regex.findall(PATTERN, text):
        tokens = [symbols[byte] for byte in word.encode()]
        for left, right in merges:
            position = 0
            while position < len(tokens) - 1:
                if (tokens[position], tokens[position + 1]) == (left, right):
                    tokens[position : position + 2] = [left + right]
                position += 1
        ids += [vocabulary[token] for token in tokens]
    return ids


@pytest.fixture(scope="module")
def trained() -> tuple[dict[str, int], list[tuple[str, str]]]:
    return train_bpe(TEXT, 340)


@pytest.fixture(scope="module")
def encoding(trained, tmp_path_factory) -> Encoding:
    folder = tmp_path_factory.mktemp("bpe")
    save_bpe(*trained, folder)
    return load_tokenizer(folder)


def test_the_vocabulary(trained) -> None:
    vocabulary, merges = trained
    assert list(vocabulary.values()) == list(range(340))
    assert list(vocabulary)[:256] == list(byte_symbols().values())
    assert list(vocabulary)[256:-1] == [left + right for left, right in merges]
    assert list(vocabulary)[-1] == "<|endoftext|>"


def test_the_same_merges_as_hugging_faces_trainer(trained) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    theirs.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=339, initial_alphabet=alphabet, show_progress=False)
    )
    assert trained[1] == [tuple(pair) for pair in json.loads(theirs.to_str())["model"]["merges"]]


@settings(deadline=None, derandomize=True, max_examples=300)
@given(text=st.text(alphabet="aabn thekps'. é\n0", max_size=40) | st.text(max_size=20))
def test_tiktoken_encodes_as_the_method_is_defined(encoding, trained, text) -> None:
    ids = encoding.encode_ordinary(text)
    assert ids == naive_encode(text, *trained)
    assert encoding.decode(ids) == text


def test_the_training_text_gets_shorter(encoding) -> None:
    assert len(encoding.encode(TEXT)) < len(TEXT.encode()) / 2
    assert encoding.eot_token == 339


def test_equally_frequent_pairs_in_the_order_of_their_ids() -> None:
    assert train_bpe("zy ba zy ba", 258)[1] == [("b", "a")]
    assert train_bpe("zy ba zy ba", 259)[1] == [("b", "a"), ("z", "y")]


def test_the_end_of_text_is_no_text() -> None:
    assert train_bpe("ab<|endoftext|>ab" * 50, 258) == train_bpe("ab" + "<|endoftext|>" * 9 + "ab", 258)


def test_too_large_a_vocabulary() -> None:
    with pytest.raises(InputError, match=r"vocab_size: expected at most 258, all that this text has .* found 300"):
        train_bpe("ab ab", 300)
    with pytest.raises(InputError, match="vocab_size: expected at least 257"):
        train_bpe("ab ab", 256)


def test_the_files_are_written_as_openai_wrote_them(mirror, tmp_path) -> None:
    original = mirror / "gpt2/124M"
    vocabulary = json.loads((original / "encoder.json").read_text(encoding="utf-8"))
    lines = (original / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
    save_bpe(vocabulary, [tuple(line.split(" ")) for line in lines], tmp_path)
    for name in ("encoder.json", "vocab.bpe"):
        assert (tmp_path / name).read_bytes() == (original / name).read_bytes()


def test_from_the_command_line(tmp_path, root, trained) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "gpt_from_scratch.tokenizer.train",
        "text.txt",
        "--vocab-size",
        "340",
        "--out",
        "o",
    ]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(root / "src")}, check=True)
    assert json.loads((tmp_path / "o/encoder.json").read_text(encoding="utf-8")) == trained[0]
    assert load_tokenizer(tmp_path / "o").n_vocab == 340
