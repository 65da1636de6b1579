"""Folders of texts as other people keep them: links, hidden files, line ends, Gutenberg's credits, many files."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from gpt_from_scratch.data.text.documents import find_files, read_documents
from gpt_from_scratch.data.text.large_corpus import open_corpus
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tokenizer.bpe import load_tokenizer


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_what_is_read_of_a_folder(tmp_path, caplog):
    books = tmp_path / "books"
    for name in ("a.txt", "B.TXT", "c.Txt", "deep/d.txt"):
        write(books / name, b"text")
    for name in (".hidden.txt", ".ipynb_checkpoints/a-checkpoint.txt", "deep/.git/x.txt", "notes.md", "e.txt.bak"):
        write(books / name, b"not read")
    write(tmp_path / "elsewhere/f.txt", b"text")
    (books / "linked").symlink_to(tmp_path / "elsewhere")
    (books / "g.txt").symlink_to(tmp_path / "elsewhere/f.txt")
    (books / "round").symlink_to(books)
    (books / "broken.txt").symlink_to(tmp_path / "nowhere")
    with caplog.at_level(logging.INFO):
        found = [str(path.relative_to(books)) for path in find_files(books, ["**/*.txt"])]
    assert found == sorted(["B.TXT", "a.txt", "c.Txt", "deep/d.txt", "g.txt", "linked/f.txt"])
    assert "not read: 2 files that do not end in .txt, 1 links that lead nowhere" in caplog.text
    assert found == [str(path.relative_to(books)) for path in find_files(books, ["."])]
    assert [path.name for path in find_files(books, ["*.md", "deep"])] == ["d.txt", "notes.md"]


def test_all_bad_files_are_named_at_once(tmp_path):
    for number in range(30):
        write(tmp_path / f"{number:02}.txt", b"good" if number % 2 else b"na\xefve")
    write(tmp_path / "empty.txt", b" ")
    with pytest.raises(InputError) as caught:
        read_documents(find_files(tmp_path, ["."]), False)
    assert str(caught.value).count("expected UTF-8 text") == 15
    assert "empty.txt: expected a text, found an empty file" in str(caught.value)


START = "*** START OF THE PROJECT GUTENBERG EBOOK A TITLE ***"
END = "*** END OF THE PROJECT GUTENBERG EBOOK A TITLE ***"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("", ""),
        ("Produced by Jane Doe and the Online\nDistributed Proofreading Team at https://www.pgdp.net\n\n\n", ""),
        ("E-text prepared by Jane Doe\n\n", "\n\nEnd of the Project Gutenberg EBook of A Title, by Jane Doe\n"),
        ("This etext was produced by Jane Doe\n\n", "\nEnd of Project Gutenberg's A Title, by Jane Doe\n\n"),
        ("Transcribed from the 1910 edition by\nJane Doe\n\n", "\nEND OF THIS PROJECT GUTENBERG EBOOK A TITLE\n"),
    ],
)
def test_gutenbergs_lines_go_and_no_carriage_return_is_learnt(tmp_path, root, before, behind, end):
    text = "CHAPTER I\n\nProduced by nobody, it stood there.\n\nThe end of the\nproject."
    whole = f"Header\n{START}\n\n{before}{text}\n{behind}\n{END}\nThe licence.\n".replace("\n", end)
    write(tmp_path / "book.txt", whole.encode())
    bpe = root / "data/sample/bpe"
    corpus = open_corpus(tmp_path, ["**/*.txt"], True, bpe, tmp_path / "kept")
    assert load_tokenizer(bpe).decode(corpus.tokens[:].tolist()) == text


MANY = """
import resource, sys
from pathlib import Path
import numpy as np
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from gpt_from_scratch.data.text.token_map import TYPE, TokenMap
paths = [Path(sys.argv[1]) / f"{n}.u16" for n in range(1100)]
for n, path in enumerate(paths):
    np.full(3, n, TYPE).tofile(path)
tokens = TokenMap(paths)
assert tokens[:].tolist() == [n for n in range(1100) for _ in range(3)]
assert [int(tokens[3 * n : 3 * n + 1][0]) for n in range(1099, -1, -1)] == list(range(1099, -1, -1))
"""


def test_more_shards_than_a_process_may_have_open(tmp_path, root):
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    subprocess.run([sys.executable, "-c", MANY, str(tmp_path)], env=environment, check=True)
