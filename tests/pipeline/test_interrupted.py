"""Trainings that were begun and not finished."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch
from typer.testing import CliRunner

from gpt_from_scratch.cli import app
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline import interrupted
from gpt_from_scratch.training.checkpoint import Checkpoints

HOLD = """
import sys, time
from pathlib import Path
from gpt_from_scratch.pipeline.interrupted import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for stage, key, step in (("pretrain", "abc", 7), ("pretrain", "def", 8), ("finetune_instruct", "abc", 9)):
        folder = interrupted.checkpoint_folder(tmp_path, stage, key)
        Checkpoints(folder).save(step, {"weights": {"w": torch.zeros(3)}}, {})
    return tmp_path


def gpt(*arguments):
    return CliRunner().invoke(app, arguments)


def hold(folder, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_lists(project):
    lines = gpt("checkpoints").output.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["finetune_instruct/abc", "after step 9"],
        ["pretrain/abc", "after step 7"],
        ["pretrain/def", "after step 8"],
    ]


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("pretrain/abc", ["finetune_instruct/abc", "pretrain/def"]),
        ("pretrain", ["finetune_instruct/abc"]),
        ("all", []),
    ],
)
def test_removes(project, name, left):
    assert gpt("checkpoints", "--remove", name).exit_code == 0
    assert [one.name for one in interrupted.trainings(project)] == left
    assert not list(project.rglob("*.lock"))


def test_an_unknown_name(project):
    answer = gpt("checkpoints", "--remove", "../../etc")
    assert answer.exit_code == 1
    assert "error: ../../etc: expected all, a stage, or one of" in answer.output
    assert len(interrupted.trainings(project)) == 3


def test_none(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert gpt("checkpoints").output == "no interrupted trainings\n"
    assert gpt("checkpoints", "--remove", "all").output == "no interrupted trainings\n"


def test_one_that_goes_on_is_not_removed(project):
    folder = project / ".checkpoints/pretrain/abc"
    process = hold(folder, 60)
    try:
        with pytest.raises(InputError, match="expected no other process"):
            interrupted.remove(project, "pretrain/abc")
        assert folder.is_dir()
        with interrupted.alone(project / ".checkpoints/pretrain/def", patience=0):
            pass  # another training is nobody else's business
    finally:
        process.kill()
        process.wait()
    with interrupted.alone(folder, patience=0):
        pass  # the lock of a killed process holds nobody up


def test_waits_for_one_that_is_about_to_end(project):
    folder = project / ".checkpoints/pretrain/abc"
    process = hold(folder, 1)
    began = time.monotonic()
    with interrupted.alone(folder, patience=30):
        assert process.wait(10) == 0
    assert time.monotonic() - began < 20


def test_copies_of_the_project_share_its_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    copy = tmp_path / ".dvc/tmp/exps/tmpabc"
    assert interrupted.checkpoint_folder(copy, "pretrain", "abc") == tmp_path / ".checkpoints/pretrain/abc"
