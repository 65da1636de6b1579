"""Profiles: the book's settings, and switching without losing anybody's edits."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.nested import at
from gpt_from_scratch.params.profiles import profiles, use_profile
from gpt_from_scratch.params.sections import load_params

# The book's own settings, as its chapters print them.
SETTINGS = {
    "split_spam": {"recipe": "book"},
    "pretrain": {
        "corpus.path": "data/raw/text.txt",
        "seed": 123,
        "batch_size": 2,
        "accumulation_steps": 1,
        "epochs": 10,
        "eval_batches": 5,
        "stride": 256,
        "train_fraction": 0.9,
        "optimizer.lr": 4e-4,
        "optimizer.weight_decay": 0.1,
        "schedule.kind": "constant",
        "model.context_length": 256,
        "model.emb_dim": 768,
        "model.n_heads": 12,
        "model.n_layers": 12,
        "model.drop_rate": 0.1,
        "model.qkv_bias": False,
        "model.tie_weights": False,
    },
    "classify": {
        "data.path": "data/raw/SMSSpamCollection",
        "base": "gpt2/124M",
        "trainable": "last_block",
        "initial_weights": "base",
        "deciding_token": "last",
        "causal": True,
        "class_weights": "none",
        "seed": 123,
        "batch_size": 8,
        "accumulation_steps": 1,
        "epochs": 5,
        "drop_rate": 0.0,
        "optimizer.lr": 5e-5,
        "optimizer.weight_decay": 0.1,
        "schedule.kind": "constant",
    },
    "instruct": {
        "seed": 123,
        "batch_size": 8,
        "accumulation_steps": 1,
        "epochs": 2,
        "drop_rate": 0.0,
        "initial_weights": "base",
        "train_fraction": 0.85,
        "test_fraction": 0.1,
        "data": "data/raw/instruction-data.json",
        "prompt_style": "alpaca",
        "mask_instruction": False,
        "objective": "answers",
        "trainable": "all",
        "optimizer.lr": 5e-5,
        "optimizer.weight_decay": 0.1,
        "schedule.kind": "constant",
    },
}


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


def test_the_profile_book_has_the_books_settings(root: Path) -> None:
    params = load_params(root / "profiles/book.yaml").model_dump()
    for section, values in SETTINGS.items():
        assert {key: at(params[section], key) for key in values} == values
