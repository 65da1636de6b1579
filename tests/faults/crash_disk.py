"""A disk that forgets, at a power failure, what no fsync had confirmed.

`recorded` watches a folder while some code writes into it and keeps its state at every write, fsync, rename and
deletion. Each state is then given in four readings: what a killed process leaves (everything written so far), and what
a power failure may leave: unconfirmed content lost, or half of it there; unconfirmed names lost with their content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

READINGS = ("killed", "content lost", "half of the content", "names lost")


@dataclass
class Node:
    """A file or folder as it was at one moment."""

    inode: int
    content: bytes | None  # None: a folder
    entries: dict[str, Node] = field(default_factory=dict)


@dataclass
class State:
    """The watched folder at one moment, and what the disk had confirmed by then."""

    event: str
    tree: Node
    contents: dict[int, bytes]
    names: dict[int, dict[str, Node]]

    def restore(self, reading: str, folder: Path) -> None:
        """Lay out in an empty folder what is found after the event under one of `READINGS`."""
        self._lay_out(self.tree, reading, folder)

    def _lay_out(self, node: Node, reading: str, path: Path) -> None:
        if node.content is None:
            path.mkdir(exist_ok=True)
            entries = self.names.get(node.inode, {}) if reading == "names lost" else node.entries
            for name, entry in entries.items():
                self._lay_out(entry, reading, path / name)
            return
        confirmed = self.contents.get(node.inode)
        if reading == "killed" or confirmed == node.content:
            content = node.content
        elif reading == "half of the content":
            content = node.content[: len(node.content) // 2]
        else:
            content = confirmed or b""
        path.write_bytes(content)


def read_tree(path: Path) -> Node:
    """Return a folder or file with all that is in it."""
    if path.is_dir():
        entries = {entry.name: read_tree(entry) for entry in sorted(path.iterdir())}
        return Node(path.stat().st_ino, None, entries)
    return Node(path.stat().st_ino, path.read_bytes())


@contextmanager
def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch, writers: tuple[str, ...] = ()) -> Iterator[list[State]]:
    """Watch `folder`, whose present content counts as confirmed; yield the list that the states are added to.

    Args:
        writers: dotted names of functions of libraries that write files, to be noted before and after each call.
    """
    states: list[State] = []
    contents: dict[int, bytes] = {}
    names: dict[int, dict[str, Node]] = {}

    def confirm(node: Node) -> None:
        if node.content is None:
            names[node.inode] = dict(node.entries)
            for entry in node.entries.values():
                confirm(entry)
        else:
            contents[node.inode] = node.content

    def note(event: str) -> None:
        tree = read_tree(folder)
        present = set(_inodes(tree))
        for known in (contents, names):  # the number of a deleted file may be given to a new one
            for inode in set(known) - present:
                del known[inode]
        states.append(State(event, tree, dict(contents), {key: dict(value) for key, value in names.items()}))

    def watch(owner: object, name: str, label: str) -> None:
        original = getattr(owner, name)

        def noted(*arguments, **options):
            note(f"before {label}")
            result = original(*arguments, **options)
            if label == "fsync":
                _confirm_descriptor(arguments[0])
            note(f"after {label}")
            return result

        monkeypatch.setattr(owner, name, noted)

    def _confirm_descriptor(descriptor: int) -> None:
        status = os.fstat(descriptor)
        found = next((node for node in _nodes(read_tree(folder)) if node.inode == status.st_ino), None)
        if found is None:
            return
        if stat.S_ISDIR(status.st_mode):
            names[found.inode] = dict(found.entries)
        else:
            contents[found.inode] = found.content

    confirm(read_tree(folder))
    for name in ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir"):
        watch(os, name, name)
    for dotted in writers:
        module, _, name = dotted.rpartition(".")
        watch(__import__(module, fromlist=[name]), name, name)
    yield states
    monkeypatch.undo()
    note("at the end")


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for entry in node.entries.values():
        yield from _nodes(entry)


def _inodes(node: Node) -> Iterator[int]:
    return (one.inode for one in _nodes(node))
