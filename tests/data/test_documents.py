"""Which files a corpus has, which part of each is text, and what happens where files are odd, bad or very many."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gpt_from_scratch.data.text.chunks import cut
from gpt_from_scratch.data.text.documents import find_files, read_documents
from gpt_from_scratch.data.text.shards import piece_text
from gpt_from_scratch.errors import InputError

TEXT = "CHAPTER I\n\nIt was produced by nobody.\n\nThe end of Project Gutenberg was not near."


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def text_of(path, strip=True):
    return "".join(piece_text(piece) for piece in cut(read_documents([path], strip)))


START = "Title: A\n\n*** START OF THIS PROJECT GUTENBERG EBOOK A TITLE ***"
END = "*** END OF THIS PROJECT GUTENBERG EBOOK A TITLE ***\n\nThe licence."
SMALL = "The Project Gutenberg Etext of A\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (START, END),
        (START.replace("*** START", "***START").replace("EBOOK", "ETEXT"), END.replace("*** END", "***END")),
        ("\ufeff" + START.partition("\n\n")[2], END),
        (f"{START}\n\n\nProduced by A. B. and the Online Distributed\nProofreading Team at http://www.pgdp.net", END),
        (f"{START}\n\nE-text prepared by A\n\n\n[Transcriber's Note: Spelling as it was.]", END),
        (f"{START}\n\nTranscribed from the 1897 edition by A\n\nHTML version by B", END),
        (f"{START}\n\nThis eBook was produced by A.\n\n_Transcriber’s Notes_", f"Transcriber’s note: x\n\n{END}"),
        (START, f"End of the Project Gutenberg EBook of A Long\nTitle, by B\n\n{END}"),
        (START, f"End of Project Gutenberg's A Title, by B\n\n{END}"),
        (SMALL, "End of The Project Gutenberg Etext of A Title"),
        (SMALL.replace("*END*THE", "*END THE"), "End of this Project Gutenberg Etext of A"),
        (f"{SMALL}\n\n\nScanned and proofed by A", "THE END OF PROJECT GUTENBERG'S A\n\nMore."),
        (START, f"End of Project Gutenberg's A\n\n{SMALL}"),
    ],
)
def test_what_gutenberg_adds_is_left_out(tmp_path, end, before, after):
    content = f"{before}\n\n{TEXT}\n\n\n{after}\n"
    path = write(tmp_path / "a.txt", content.replace("\n", end))
    assert text_of(path) == TEXT
    assert text_of(path, strip=False) == content.removeprefix("\ufeff")


@pytest.mark.parametrize(
    "content", [TEXT, f"Produced by A\n\n{TEXT}", f"{TEXT}\n\nTranscriber's note: x", f"\n{TEXT}\n"]
)
def test_without_marks_nothing_is_left_out(tmp_path, content):
    assert text_of(write(tmp_path / "a.txt", content)) == content


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_carriage_returns_are_not_learnt(tmp_path, end):
    path = write(tmp_path / "a.txt", "\ufeff" + f"One{end}{end}two\u2028\x85{end}")
    assert text_of(path) == "One\n\ntwo\u2028\x85\n"


def test_which_files_are_read(tmp_path, caplog):
    folder = tmp_path / "books"
    for name in ("a.txt", "B.TXT", "c/d.Txt", ".hidden.txt", ".ipynb_checkpoints/a.txt", "c/.git/x.txt", "e.md"):
        write(folder / name, "x")
    write(tmp_path / "elsewhere/f.txt", "x")
    (folder / "g.txt").symlink_to(tmp_path / "elsewhere/f.txt")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "c/loop").symlink_to(folder)
    (folder / "h.txt").mkdir()
    names = [str(path.relative_to(folder)) for path in find_files(folder, ["**/*.txt", "c"])]
    assert names == ["B.TXT", "a.txt", "c/d.Txt", "g.txt"]
    assert "books: 2 linked folders not read, as DVC does not see them: c/loop, linked" in caplog.text
    assert find_files(folder, ["linked/*.TXT"]) == [folder / "linked/f.txt"]
    hidden = tmp_path / ".cache/books"
    write(hidden / "a.txt", "x")
    assert find_files(hidden, ["**/*.txt"]) == [hidden / "a.txt"]


@pytest.mark.timeout(20)
def test_all_bad_files_are_named_at_once(tmp_path):
    for name, content in {
        "a.txt": b"fine",
        "b.txt": "w\xe4re".encode("latin-1"),
        "c.txt": b"",
        "d.txt": b"\xef\xbb\xbf",
        "e.txt": "Hello".encode("utf-16"),
        "f.txt": b"caf\xe9\n",
    }.items():
        write(tmp_path / name, content)
    (tmp_path / "g.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "h.txt").symlink_to(tmp_path / "h.txt")
    os.mkfifo(tmp_path / "i.txt")
    with pytest.raises(InputError) as caught:
        read_documents(find_files(tmp_path, ["**/*.txt"]), False)
    faults = str(caught.value).split("; ")
    assert [fault.removeprefix(f"{tmp_path}/")[:5] for fault in faults[:8]] == [
        f"{letter}.txt" for letter in "bcdefghi"
    ]
    assert faults[8:] == [
        "if it is Latin-1, this converts it: iconv -f LATIN1 -t UTF-8 OLD > NEW",
        "it is UTF-16, this converts it: iconv -f UTF-16 -t UTF-8 OLD > NEW",
    ]


MANY = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from gpt_from_scratch.data.text import large_corpus
from gpt_from_scratch.data.text.chunks import shards
from gpt_from_scratch.data.text.documents import find_files, read_documents
from gpt_from_scratch.data.text.loaders import text_loaders
from gpt_from_scratch.tokenizer.bpe import load_tokenizer

large_corpus.shards = lambda pieces: shards(pieces, 1)
path, bpe, kept = map(Path, sys.argv[1:4])
documents = read_documents(find_files(path, ["**/*.txt"]), False)
tokens, _ = large_corpus.tokenised(documents, path.parent, bpe, kept)
assert len(list(kept.glob("*/*.u16"))) == 1100
ids = load_tokenizer(bpe).encode("<|endoftext|>".join(["some words"] * 1100), allowed_special="all")
assert tokens[:].tolist() == ids
train, validation = text_loaders(*tokens.split(0.9), 16, 16, 4)
assert sum(len(batch[0]) for batch in train) > 100
"""


def test_more_shards_than_open_files_are_allowed(tmp_path, root):
    for number in range(1100):
        write(tmp_path / f"texts/{number:04}.txt", "some words")
    arguments = [tmp_path / "texts", root / "data/sample/bpe", tmp_path / "kept"]
    command = [sys.executable, "-c", MANY, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(root / "src")}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
