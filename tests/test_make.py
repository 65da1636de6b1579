"""The Makefile: its targets, when it installs, and the versions it installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TARGETS = [
    *("help", "install", "repro", "reproduce-check", "test", "test-slow", "test-faults"),
    *("test-browser", "test-gpu", "test-network", "test-notebooks", "test-all", "notebooks"),
    *("bench", "bench-gpu", "ui", "clean", "distclean", "lock"),
]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # What a make that runs these tests hands down is not meant for this one.
    inherited = {key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "PROFILE"}}
    return subprocess.run(["make", *arguments], cwd=folder, env=inherited, capture_output=True, text=True)


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "a folder"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(root / name, folder)
    return folder


def stamp(folder: Path) -> str:
    return re.search(r"touch (\S+)", make(folder, "-n", "install").stdout)[1]


def test_help_lists_every_target(root: Path) -> None:
    assert re.findall(r"^  make (\S+)", make(root, "help").stdout, re.M) == TARGETS


def test_it_installs_once_for_the_same_files_in_the_same_place(copy: Path, tmp_path: Path) -> None:
    first = copy / stamp(copy)
    first.parent.mkdir()
    first.touch()
    os.utime(copy / "requirements.lock")
    assert "Nothing to be done" in make(copy, "install").stdout
    with (copy / "requirements.lock").open("a") as file:
        file.write("another==1.0\n")
    assert make(copy, "-q", "install").returncode == 1
    moved = copy.rename(tmp_path / "moved")
    shutil.copy(Path(__file__).parents[1] / "requirements.lock", moved)
    assert make(moved, "-q", "install").returncode == 1


def test_an_unpacked_archive_is_told_of_git_before_anything_is_installed(copy: Path, monkeypatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(copy.parent))
    answer = make(copy, "repro")
    assert answer.returncode == 2
    assert "git init" in answer.stderr
    assert not (copy / ".venv").exists()


def test_a_python_that_does_not_fit_is_named(copy: Path) -> None:
    old = copy / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.18 || exit 1\n')
    old.chmod(0o755)
    done = make(copy, "install", "PYTHON=./python3.9")
    assert done.returncode == 2
    assert "error: Python 3.11, 3.12 or 3.13 is needed, found Python 3.9.18; name one with: make install" in done.stderr
    assert not (copy / ".venv").exists()
    (copy / ".venv").mkdir()  # as one that was moved: it goes only when it can be made anew
    assert make(copy, "install", "PYTHON=./python3.9").returncode == 2
    assert (copy / ".venv").exists()


def test_the_advice_to_push_is_shown_only_where_there_is_a_remote(copy: Path) -> None:
    shown = make(copy, "-n", "repro").stdout
    kept = shown.split("gpt repro | ")[1].split(" && \\\n")[0]
    printed = "Running stage 'x':\nUse `dvc push` to send your updates to remote storage.\n"

    def filtered() -> str:
        command = ["bash", "-o", "pipefail", "-c", kept]
        return subprocess.run(command, cwd=copy, input=printed, capture_output=True, text=True, check=True).stdout

    assert filtered() == printed.splitlines(keepends=True)[0]
    (copy / ".dvc").mkdir()
    (copy / ".dvc/config").write_text("[core]\n    remote = store\n['remote \"store\"']\n    url = /store\n")
    assert filtered() == printed


def test_repro_switches_the_profile_only_when_asked(copy: Path) -> None:
    assert "use-profile" not in make(copy, "-n", "repro").stdout
    assert 'gpt use-profile "book"' in make(copy, "-n", "repro", "PROFILE=book").stdout


def test_the_lock_holds_names_and_versions_only(root: Path) -> None:
    header, *lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert header.startswith("# ")
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    versions = dict(line.split("==") for line in lines)
    assert versions["torch"] == "2.13.0"
    assert versions["tensorflow"] == versions["tensorflow-cpu"]
    assert versions["llms-from-scratch"] in (root / "Makefile").read_text(encoding="utf-8")
    assert not [name for name in versions if name.startswith(("nvidia", "triton", "cuda"))]
