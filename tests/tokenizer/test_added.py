"""Added tokens give transformers' ids, wherever its versions keep them, and none is dropped."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
from transformers import AddedToken, AutoTokenizer, GPT2Tokenizer

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tokenizer.added import read_added
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.config_file import write_tokenizer

PLAIN = ["<|pad|>", "<tool>", "<tool><|pad|>", "the", "ß", "中文"]
FLAGGED = [
    AddedToken("<left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True, normalized=False),
    AddedToken("<word>", single_word=True, normalized=False),
    AddedToken("<late>", normalized=True),
]
TEXTS = [
    "", " ", "<|pad|>", "a<|pad|>", "<|pad|>a", " <|pad|> ", "  <|pad|>\n\n<|pad|>  b", "<|pad|><|pad|>",
    "<tool><|pad|>",
    "<tool> <|pad|>", "<<|pad|>>", "<|pad|", "the other theme", "a \t <left>  <left>b", "<right>  a <right>\n",
    "<word> a<word> <word>b c<word>d (<word>)", "<late><tool><late>", "<right>  <left>", "naïve ß <ß>中文字 中文",
    "don't 123<tool>456", "🎉<tool>🎉 \u00a0<left>\u2028x", "<tool" + "<tool>" * 3 + ">" * 3, "line\r\n<left>\r\nline",
    "x\u0301<word>", "<word>\u0301", "\x1c<left>", "\x85<left>", "a\u200d<word>", "_<word>", "²<word>", "ⅷ<word>",
]  # fmt: skip


@pytest.fixture
def theirs(root, tmp_path):
    """A tokenizer of transformers, and the folder that it was saved in."""
    folder = tmp_path / "two"
    folder.mkdir()
    for ours, name in (("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")):
        shutil.copy(root / "data/sample/bpe" / ours, folder / name)
    tokenizer = GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"pad_token": PLAIN[0]})
    tokenizer.add_tokens(PLAIN[1:])
    tokenizer.add_tokens(FLAGGED)
    tokenizer.save_pretrained(tmp_path / "one")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    return tokenizer


def as_saved(tmp_path, way):
    """Return the folder in one of the ways in which versions of transformers save it."""
    one, two = tmp_path / "one", tmp_path / "two"
    if way == "tokenizer.json alone":
        return one
    added = json.loads((one / "tokenizer.json").read_text())["added_tokens"]
    if way == "both":
        shutil.copy(one / "tokenizer.json", two)
    elif way == "added_tokens_decoder":
        decoder = {str(row.pop("id")): row for row in added}
        (two / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    return two


@pytest.mark.parametrize("way", ["tokenizer.json alone", "both", "added_tokens_decoder"])
def test_ids_are_those_of_transformers(theirs, tmp_path, root, way):
    folder = as_saved(tmp_path, way)
    ours = load_tokenizer(folder)
    assert ours.n_vocab == len(theirs)
    for text in TEXTS:
        expected = theirs.encode(text)
        assert ours.encode(text, disallowed_special=()) == ours.encode_ordinary(text) == expected, text
        assert ours.decode(expected) == theirs.decode(expected, clean_up_tokenization_spaces=False)
    assert pickle.loads(pickle.dumps(ours)).encode_ordinary(TEXTS[7]) == theirs.encode(TEXTS[7])
    assert ours.encode_ordinary_batch(TEXTS) == [theirs.encode(text) for text in TEXTS]
    # The book's rule for the token that ends a text: plain text, unless it is allowed.
    marked = "a<|endoftext|><tool>"
    assert ours.encode(marked, allowed_special={"<|endoftext|>"}) == theirs.encode(marked)
    with pytest.raises(ValueError, match="endoftext"):
        ours.encode(marked)
    # What a model folder of ours keeps of it gives the same, here and in transformers.
    (tmp_path / "ours").mkdir()
    config = type("Config", (), {"vocab_size": 1700, "context_length": 64})
    write_tokenizer(folder, tmp_path / "ours", config)
    (tmp_path / "ours/config.json").write_text('{"model_type": "gpt2"}')
    again, read_again = load_tokenizer(tmp_path / "ours"), AutoTokenizer.from_pretrained(tmp_path / "ours")
    for text in TEXTS:
        assert again.encode_ordinary(text) == theirs.encode(text) == read_again.encode(text), text


def test_added_tokens_json_of_older_versions(theirs, tmp_path):
    folder = tmp_path / "two"
    (folder / "added_tokens.json").write_text(json.dumps({"<|pad|>": 1536, "<tool>": 1537}))
    assert load_tokenizer(folder).encode_ordinary("<tool>a<|pad|>") == [1537, *load_tokenizer(folder).encode("a"), 1536]


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ({"<a>": "1"}, r"added token\.id: .* found '1'"),
        ({"<a>": -1}, r"added token\.id: .* found -1"),
        ({"": 1536}, r"added token\.content: "),
        ({"<a>": 1536, "<b>": 1536}, "expected one id of its own, found 1536"),
        ({"<a>": 5}, "'<a>': expected an id of its own, found 5"),
        ({"a": 1536}, "'a': expected an id of its own, found 1536"),
        (["<a>"], "expected a JSON object"),
    ],
)
def test_what_is_not_valid_is_refused(theirs, tmp_path, added, message):
    (tmp_path / "two/added_tokens.json").write_text(json.dumps(added))
    with pytest.raises(InputError, match=message):
        load_tokenizer(tmp_path / "two")


def test_our_own_folders_have_none(root):
    assert read_added(root / "data/sample/bpe") == []
