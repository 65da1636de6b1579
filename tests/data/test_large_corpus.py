"""Corpora of any size: the same tokens as from one call of the tokenizer, kept, taken up again, and clear errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt_from_scratch.data.text.chunks import cut, shards
from gpt_from_scratch.data.text.documents import Document, find_files, read_documents
from gpt_from_scratch.data.text.large_corpus import tokenised
from gpt_from_scratch.data.text.loaders import text_loaders
from gpt_from_scratch.data.text.shards import Workers, piece_ids, shard_files, write_shards
from gpt_from_scratch.data.text.token_map import TokenMap
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.reading import with_line_feeds
from gpt_from_scratch.tokenizer.bpe import load_tokenizer

HEADER = "The Project Gutenberg eBook of A Title\n\n*** START OF THE PROJECT GUTENBERG EBOOK A TITLE,\nOR TWO ***\r\n\n"
FOOTER = "\n\n*** END OF THE PROJECT GUTENBERG EBOOK A TITLE ***\nThe licence.\n"


@pytest.fixture(scope="module")
def bpe(root):
    return root / "data/sample/bpe"


@pytest.fixture(scope="module")
def tokenizer(bpe):
    return load_tokenizer(bpe)


@pytest.fixture(scope="module")
def text(root):
    return (root / "data/sample/the-lighthouse.txt").read_text(encoding="utf-8")


def write(path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def whole(path) -> list[Document]:
    return [Document(path, 0, path.stat().st_size, "")]


BLANKS = st.text(st.sampled_from(" \n\t\r\u00a0\u2003\u3000\x1f"), min_size=1, max_size=4)
WORDS = st.text(st.sampled_from("abz'st019.!é中🙂—"), min_size=1, max_size=8) | st.just("<|endoftext|>")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(WORDS, BLANKS), min_size=1, max_size=80), st.integers(100, 300))
@example([("0—", "\u00a0"), ("<|endoftext|>", "\u00a0\u00a0\u2003"), ("0000——🙂", "\u00a0\u00a0")] * 3, 100)
@example([("a", " "), ("'s", "\n\n"), ("b", "   ")] * 30, 101)
def test_pieces_give_the_tokens_of_the_whole(tmp_path_factory, tokenizer, parts, longest):
    text = "".join(word + blanks for word, blanks in parts) + " end"
    path = write(tmp_path_factory.mktemp("text") / "a.txt", text)
    pieces = list(cut(whole(path), longest))
    assert [piece.end for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert all(piece.end - piece.start <= longest for piece in pieces)
    ids = np.concatenate([piece_ids(piece, tokenizer) for piece in pieces])
    assert ids.tolist() == tokenizer.encode(with_line_feeds(text), allowed_special={"<|endoftext|>"})


def test_a_text_without_blanks_is_cut_between_characters(tmp_path, tokenizer):
    path = write(tmp_path / "a.txt", "中🙂" * 50)
    pieces = list(cut(whole(path), 64))
    ids = np.concatenate([piece_ids(piece, tokenizer) for piece in pieces])
    assert len(pieces) > 5
    assert tokenizer.decode(ids.tolist()) == "中🙂" * 50


def test_shards_are_filled_and_no_larger(tmp_path):
    path = write(tmp_path / "a.txt", "word " * 1000)
    groups = list(shards(cut(whole(path), 90), 1000))
    sizes = [sum(piece.end - piece.start for piece in group) for group in groups]
    assert sum(sizes) == 5000
    assert max(sizes) <= 1000
    assert min(sizes[:-1]) > 900


def test_a_folder_becomes_documents_in_order(tmp_path, bpe, tokenizer):
    texts = {"b.txt": "Second. ", "a/z.txt": "\ufeffFirst!\n", "c.txt": HEADER + "Third," + FOOTER, "d.md": "Not read."}
    for name, content in texts.items():
        write(tmp_path / "books" / name, content)
    documents = read_documents(find_files(tmp_path / "books", ["**/*.txt"]), strip_gutenberg=True)
    tokens, key = tokenised(documents, tmp_path, bpe, tmp_path / "kept")
    found = tokenizer.decode(tokens[:].tolist())
    assert found == "First!\n<|endoftext|>Second. <|endoftext|>Third,"
    assert (tokens[:] == tokenizer.eot_token).sum() == 2
    documents = read_documents(find_files(tmp_path / "books", ["c.txt", "d.md", "c.*"]), strip_gutenberg=False)
    others, other_key = tokenised(documents, tmp_path, bpe, tmp_path / "kept")
    assert tokenizer.decode(others[:].tolist()) == texts["c.txt"].replace("\r", "") + "<|endoftext|>Not read."
    assert other_key != key


def test_files_folders_and_globs(tmp_path):
    for name in ("a.txt", "b/c.txt", "b/d/e.txt", "b/f.md"):
        write(tmp_path / name, "x")
    names = [str(path.relative_to(tmp_path)) for path in find_files(tmp_path, ["a.txt", "b", "b/*.md", "**/e.txt"])]
    assert names == ["a.txt", "b/c.txt", "b/d/e.txt", "b/f.md"]
    with pytest.raises(InputError, match=r"expected texts that fit 'none/\*', found none"):
        find_files(tmp_path, ["a.txt", "none/*"])
    with pytest.raises(InputError, match="nowhere: expected a text or a folder of texts, found nothing there"):
        find_files(tmp_path / "nowhere", ["**/*.txt"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "expected a text, found an empty file"),
        (b" \n\t " * 1000, "expected a text, found an empty file"),
        (b"one\ntwo\nthr\xffee\n", "line 3: expected UTF-8 text, found the byte 0xff at 11"),
        (b"a\n" * 2**20 + b"\xe4\xb8", "line 1048577: expected UTF-8 text, found the byte 0xe4 at 2097152"),
        (b"a" * (2**20 - 1) + b"\xc3(", "line 1: expected UTF-8 text, found the byte 0xc3 at 1048575"),
        ((HEADER + FOOTER).encode(), "expected a text between Project Gutenberg's marks, found none"),
    ],
)
def test_a_file_that_is_no_text(tmp_path, content, complaint):
    good, bad = write(tmp_path / "good.txt", "Good."), write(tmp_path / "bad.txt", content)
    with pytest.raises(InputError, match=complaint) as caught:
        read_documents([good, bad], True)
    assert str(caught.value).startswith(str(bad))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(tmp_path):
    path = write(tmp_path / "secret.txt", "Secret.")
    path.chmod(0)
    with pytest.raises(InputError, match=r"secret\.txt: could not be read: Permission denied"):
        read_documents([path], False)


@pytest.fixture
def work(tmp_path, text, bpe, tokenizer):
    """Ten shards and their folder, and the ids they must give."""
    path = write(tmp_path / "text.txt", text)
    groups = list(shards(cut(whole(path), len(text) // 28), len(text) // 9))
    assert len(groups) >= 8
    (tmp_path / "shards").mkdir()
    return groups, bpe, tmp_path / "shards", tokenizer.encode(text)


def ids_of(folder) -> list[int]:
    files = shard_files(folder)
    return TokenMap([files[number] for number in sorted(files)])[:].tolist()


def test_what_is_missing_or_damaged_is_made_again_and_nothing_else(work):
    groups, bpe, folder, expected = work
    write_shards(groups, bpe, folder, Workers(2))
    assert ids_of(folder) == expected
    files = shard_files(folder)
    before = {path: path.stat().st_mtime_ns for path in files.values()}
    files[2].unlink()
    files[5].write_bytes(files[5].read_bytes()[:-2])
    write(folder / ".unfinished-0-abc", b"ab")
    write_shards(groups, bpe, folder)
    assert ids_of(folder) == expected
    changed = {path for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed == {files[2], files[5]}
    assert not list(folder.glob(".unfinished*"))


def test_a_text_that_changes_meanwhile(work):
    groups, bpe, folder, _ = work
    write(Path(groups[0][0].path), b"\xff" * 40_000)
    with pytest.raises(InputError, match=r"text\.txt: expected the text that it was, found no UTF-8 at byte \d+"):
        write_shards(groups, bpe, folder)


def test_two_machines_share_the_work(work):
    groups, bpe, folder, expected = work
    write_shards(groups, bpe, folder, Workers(2), node=1, nodes=2)
    second = set(shard_files(folder))
    assert 0 < len(second) < len(groups)
    write_shards(groups, bpe, folder, node=0, nodes=2)
    assert set(range(len(groups))) - second == {number for number in shard_files(folder) if number not in second}
    assert ids_of(folder) == expected


KILLED = """
import sys, time
from pathlib import Path
from gpt_from_scratch.pipeline.signals import listen
from gpt_from_scratch.pipeline.watchdog import end_with_parent
from gpt_from_scratch.training.ranks import usable_cores
from gpt_from_scratch.data.text import large_corpus
from gpt_from_scratch.data.text import shards
from gpt_from_scratch.data.text.chunks import cut, shards as group
from gpt_from_scratch.data.text.documents import find_files, read_documents

large_corpus.cut = lambda documents: cut(documents, 1500)
large_corpus.shards = lambda pieces: group(pieces, 2000)
if sys.argv[4] == "slow":
    write, shards.piece_ids = shards.piece_ids, lambda *some: time.sleep(0.5) or write(*some)
path, bpe, kept = map(Path, sys.argv[1:4])
listen()
workers = shards.Workers(usable_cores(), end_with_parent)
documents = read_documents(find_files(path, ["**/*.txt"]), False)
tokens, _ = large_corpus.tokenised(documents, path.parent, bpe, kept, workers)
print(sum(tokens[:].tolist()))
"""


def in_session(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_a_killed_run_is_gone_on_with(tmp_path, text, bpe, tokenizer, root, number, code):
    path, kept = write(tmp_path / "text.txt", text[:30_000]), tmp_path / "kept"
    command = [sys.executable, "-c", KILLED, str(path), str(bpe), str(kept)]
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    process = subprocess.Popen([*command, "slow"], env=environment, stderr=subprocess.PIPE, start_new_session=True)
    while len(list(kept.glob("*/*.u16"))) < 3:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait() == code
    assert b"Traceback" not in process.stderr.read() or number == signal.SIGKILL
    until = time.monotonic() + 20
    while others := [one.pid for one in psutil.process_iter() if in_session(one.pid, process.pid)]:
        assert time.monotonic() < until, f"{others} outlived the process that was killed"
        time.sleep(0.2)
    before = {file: file.stat().st_mtime_ns for file in kept.glob("*/*.u16")}
    assert 3 <= len(before) < 15
    answer = subprocess.run([*command, "fast"], env=environment, capture_output=True, text=True, check=True)
    assert int(answer.stdout) == sum(tokenizer.encode(text[:30_000]))
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert not list(kept.glob("*/.unfinished*"))


def test_windows_over_files_are_those_over_a_list(work):
    groups, bpe, folder, expected = work
    write_shards(groups, bpe, folder)
    tokens = TokenMap([path for _, path in sorted(shard_files(folder).items())])
    for first, last in ((0, 5), (len(expected) // 9, len(expected) // 3), (7, 7), (len(expected) - 3, len(expected))):
        assert tokens[first:last].tolist() == expected[first:last]
    train, validation = tokens.split(0.9)
    end = int(0.9 * len(expected))
    assert (len(train), len(validation)) == (end, len(expected) - end)
    loaders = [text_loaders(*parts, 16, 5, 4) for parts in ((train, validation), (expected[:end], expected[end:]))]
    for ours, theirs in zip(*loaders, strict=True):
        drawn = []
        for loader in (ours, theirs):
            torch.manual_seed(3)
            drawn.append([part for batch in loader for part in batch])
        assert len(drawn[0]) == len(drawn[1]) > 10
        assert all(a.dtype == torch.int64 and torch.equal(a, b) for a, b in zip(*drawn, strict=True))
