"""Switching profiles: nobody's edits are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params.profiles import profiles, use_profile
from gpt_from_scratch.params.sections import load_params


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    for name in ("book", "quick"):
        (tmp_path / "profiles" / f"{name}.yaml").write_text(f"profile: {name}\n")
    (tmp_path / "params.yaml").write_text("profile: quick\n")
    return tmp_path


def test_an_unchanged_profile_is_replaced(project: Path) -> None:
    assert use_profile(project, "book")
    assert (project / "params.yaml").read_bytes() == (project / "profiles/book.yaml").read_bytes()
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "profiles"]


def test_the_same_profile_changes_nothing(project: Path) -> None:
    before = (project / "params.yaml").stat()
    assert not use_profile(project, "quick")
    after = (project / "params.yaml").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_a_missing_params_file_is_made(project: Path) -> None:
    (project / "params.yaml").unlink()
    assert use_profile(project, "quick")


@pytest.mark.parametrize("edited", ["profile: mine\n", "profile: quick\n\n", ""])
def test_edited_parameters_are_never_overwritten(project: Path, edited: str) -> None:
    (project / "params.yaml").write_text(edited)
    with pytest.raises(InputError, match=r"params\.yaml: .*edited.*cp params\.yaml profiles/mine\.yaml"):
        use_profile(project, "book")
    assert (project / "params.yaml").read_text() == edited


def test_a_users_own_profile_counts_as_one(project: Path) -> None:
    (project / "params.yaml").write_text("profile: mine\n")
    (project / "profiles/mine.yaml").write_text("profile: mine\n")
    assert use_profile(project, "book")


@pytest.mark.parametrize("name", ["bok", "", "../params", "book.yaml"])
def test_an_unknown_profile_is_refused_with_the_known_ones(project: Path, name: str) -> None:
    with pytest.raises(InputError, match="book, quick"):
        use_profile(project, name)
    assert (project / "params.yaml").read_text() == "profile: quick\n"


def test_every_profile_of_the_project_is_complete_and_bears_its_name(root: Path) -> None:
    found = profiles(root)
    assert {"book", "quick"} <= set(found)
    for name, path in found.items():
        assert load_params(path).profile == name
