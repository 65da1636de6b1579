"""GPT-2's byte-pair encoding from its two files: real ids, both file layouts, and what is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken import Encoding

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tokenizer.bpe import bpe_from_files, byte_symbols, find_gpt2_tokenizer, load_tokenizer

TRICKY = [
    "",
    " ",
    "Hello,  world!\n\n  Two spaces, a tab\tand a line\r\n",
    "don't we'll I'd you've they're it's 'tis 'S",
    "naïve Zürich 東京 Ελλάδα русский עברית हिन्दी",
    "👩‍👩‍👧‍👦 é vs é \u200b\u00a0\u2028\ufeff",
    "3.14159 1,000,000 ½ Ⅻ ٣",
    "def f(x):\n    return x  # comment\n",
    "\x00\x01\x7f\x80\xff",
    "   \n   \n\n   trailing   ",
    "Ġ Ċ ĉ are letters here",
    "a<|endoftext",
]


@pytest.fixture(scope="module")
def gpt2(mirror) -> Encoding:
    return load_tokenizer(mirror / "gpt2/124M")


@pytest.fixture(scope="module")
def theirs(mirror) -> Any:
    from transformers import GPT2Tokenizer

    folder = mirror / "gpt2/124M"
    return GPT2Tokenizer(vocab=str(folder / "encoder.json"), merges=str(folder / "vocab.bpe"))


def tiny_files(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """Write a vocabulary of all bytes, two merges and `<|endoftext|>`, after the given changes."""
    tokens = [*byte_symbols().values(), "he", "hel", "<|endoftext|>"]
    vocabulary = changes.get("vocabulary", {token: number for number, token in enumerate(tokens)})
    (folder / "encoder.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "vocab.bpe").write_text(changes.get("merges", "#version: 0.2\nh e\nhe l\n"), encoding="utf-8")
    return folder / "encoder.json", folder / "vocab.bpe"


def test_the_books_example(gpt2) -> None:
    text = "Hello, do you like tea? <|endoftext|> In the sunlit terraces of someunknownPlace."
    ids = [15496, 11, 466, 345, 588, 8887, 30, 220, 50256, 554, 262, 4252, 18250, 8812]
    ids += [2114, 286, 617, 34680, 27271, 13]
    assert gpt2.encode(text, allowed_special={"<|endoftext|>"}) == ids
    assert gpt2.decode(ids) == text
    assert (gpt2.n_vocab, gpt2.eot_token) == (50257, 50256)


@pytest.mark.parametrize("text", TRICKY)
def test_ids_equal_hugging_faces(gpt2, theirs, text) -> None:
    ids = gpt2.encode(text)
    assert ids == theirs(text)["input_ids"]
    assert gpt2.decode(ids) == text


@settings(deadline=None, derandomize=True, max_examples=300)
@given(text=st.text(max_size=60))
def test_any_text_gives_hugging_faces_ids_and_comes_back(gpt2, theirs, text) -> None:
    ids = gpt2.encode(text, allowed_special="all")
    assert ids == theirs(text)["input_ids"]
    assert gpt2.decode(ids) == text


def test_the_verdict_has_5145_tokens(gpt2, mirror) -> None:
    assert len(gpt2.encode((mirror / "the-verdict.txt").read_text(encoding="utf-8"))) == 5145


def test_a_million_spaces_are_quick(gpt2) -> None:
    start = time.perf_counter()
    assert gpt2.decode(gpt2.encode(" " * 1_000_000)) == " " * 1_000_000
    assert time.perf_counter() - start < 10


def test_hugging_faces_file_names(tmp_path) -> None:
    vocabulary, merges = tiny_files(tmp_path)
    vocabulary.rename(tmp_path / "vocab.json")
    merges.rename(tmp_path / "merges.txt")
    assert load_tokenizer(tmp_path).encode("hello") == [257, 75, 78]


def test_end_of_text_need_not_be_last(tmp_path) -> None:
    tokens = ["<|endoftext|>", *byte_symbols().values(), "he", "hel"]
    encoding = bpe_from_files(*tiny_files(tmp_path, vocabulary={token: n for n, token in enumerate(tokens)}))
    assert (encoding.eot_token, encoding.n_vocab) == (0, 259)
    ids = encoding.encode("hello<|endoftext|>hé", allowed_special="all")
    assert ids == [258, 76, 79, 0, 72, 128, 103]
    assert encoding.decode(ids) == "hello<|endoftext|>hé"


def test_merges_without_a_version_line(tmp_path) -> None:
    assert bpe_from_files(*tiny_files(tmp_path, merges="h e\nhe l\n")).encode("hel") == [257]


def test_it_travels_to_worker_processes(tmp_path) -> None:
    encoding = bpe_from_files(*tiny_files(tmp_path))
    assert pickle.loads(pickle.dumps(encoding)).encode("hello") == encoding.encode("hello")


GOOD = {token: n for n, token in enumerate([*byte_symbols().values(), "he", "hel", "<|endoftext|>"])}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": [1, 2]}, r"encoder\.json: expected a JSON object that gives each token its id"),
        ({"vocabulary": GOOD | {"he": "256"}}, r"encoder\.json: expected a JSON object that gives each token its id"),
        ({"vocabulary": GOOD | {"he": True}}, r"encoder\.json: expected a JSON object that gives each token its id"),
        ({"vocabulary": GOOD | {"he": 257}}, r"encoder\.json: expected the ids 0 to 258, each once"),
        (
            {"vocabulary": {("<end>" if token == "<|endoftext|>" else token): n for token, n in GOOD.items()}},
            r"encoder\.json: expected an id for <\|endoftext\|>, found none",
        ),
        (
            {"vocabulary": {("AA" if token == "A" else token): n for token, n in GOOD.items()}},
            r"encoder\.json: expected an id for 'A', the byte 0x41, found none",
        ),
        (
            {"vocabulary": GOOD | {"extra": 259}},
            r"encoder\.json: expected only bytes and results of merges, found 'extra'",
        ),
        (
            {"vocabulary": GOOD | {"he": 257, "hel": 256}},
            r"vocab\.bpe, line 3: expected ids in the order of the merges",
        ),
        ({"merges": "#version: 0.2\nh e\nhe l\nl o\n"}, r"vocab\.bpe, line 4: expected a merge whose result has an id"),
        ({"merges": "#version: 0.2\nh e\nh e\n"}, r"vocab\.bpe, line 3: expected a merge whose result has an id"),
        ({"merges": "#version: 0.2\nhe l\nh e\n"}, r"vocab\.bpe, line 2: expected two tokens that bytes or earlier"),
        ({"merges": "#version: 0.2\nh e l\n"}, r"vocab\.bpe, line 2: expected two tokens"),
        ({"merges": "#version: 0.2\nh e\n"}, r"encoder\.json: expected only bytes and results of merges, found 'hel'"),
    ],
)
def test_files_that_do_not_fit(tmp_path, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        bpe_from_files(*tiny_files(tmp_path, **changes))


def test_unreadable_files(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no tokenizer here: expected the files encoder\.json and vocab\.bpe, or"):
        load_tokenizer(tmp_path)
    vocabulary, merges = tiny_files(tmp_path)
    merges.write_bytes(b"#version: 0.2\nh \xff\n")
    with pytest.raises(InputError, match=r"vocab\.bpe, line 2: expected UTF-8 text, found the byte 0xff"):
        load_tokenizer(tmp_path)
    with pytest.raises(InputError, match=r"gone\.bpe: file not found"):
        bpe_from_files(vocabulary, tmp_path / "gone.bpe")
    vocabulary.write_text('{"a": 1,')
    with pytest.raises(InputError, match=r"encoder\.json, line 1, column 9: not valid JSON"):
        load_tokenizer(tmp_path)


class TestFindingGpt2s:
    """Where `find_gpt2_tokenizer` looks."""

    @pytest.fixture(autouse=True)
    def _nowhere(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.delenv("GPT_MIRROR", raising=False)

    def test_nowhere(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("GPT_MIRROR", "https://example.invalid/mirror")
        with pytest.raises(
            InputError, match=r"expected encoder\.json and vocab\.bpe with 50257 tokens in one of .*cache"
        ):
            find_gpt2_tokenizer()

    def test_in_the_project_that_a_notebook_lies_in(self, tmp_path, monkeypatch, mirror) -> None:
        shutil.copytree(mirror / "gpt2/124M", tmp_path / "data/raw/bpe")
        (tmp_path / "dvc.yaml").write_text("stages: {}\n")
        (tmp_path / "notebooks").mkdir()
        monkeypatch.chdir(tmp_path / "notebooks")
        assert find_gpt2_tokenizer().n_vocab == 50257

    def test_past_another_tokenizer_in_a_models_folder(self, tmp_path, mirror) -> None:
        (tmp_path / "data/raw/bpe").mkdir(parents=True)
        tiny_files(tmp_path / "data/raw/bpe")
        model = tmp_path / "models/gpt2/124M"
        model.mkdir(parents=True)
        shutil.copyfile(mirror / "gpt2/124M/encoder.json", model / "vocab.json")
        shutil.copyfile(mirror / "gpt2/124M/vocab.bpe", model / "merges.txt")
        assert find_gpt2_tokenizer().n_vocab == 50257

    def test_in_the_mirror(self, monkeypatch, mirror) -> None:
        monkeypatch.setenv("GPT_MIRROR", str(mirror))
        assert find_gpt2_tokenizer().n_vocab == 50257

    def test_in_tiktokens_cache(self, tmp_path, mirror) -> None:
        (tmp_path / "cache").mkdir()
        for name in ("encoder.json", "vocab.bpe"):
            url = f"https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/{name}"
            cached = tmp_path / "cache" / hashlib.sha1(url.encode()).hexdigest()
            shutil.copyfile(mirror / "gpt2/124M" / name, cached)
        assert find_gpt2_tokenizer().n_vocab == 50257
