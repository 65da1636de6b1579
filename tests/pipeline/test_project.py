"""The project's own folder: as a copy of `dvc exp run --temp`, and as a part or a stage of another project."""

from __future__ import annotations

import pytest

from gpt_from_scratch.pipeline.project import project_home


@pytest.mark.parametrize(
    ("outer", "root", "home"),
    [
        (None, "ours", "ours"),
        ("ours", "ours", "ours"),
        ("ours", "ours/.dvc/tmp/exps/temp1", "ours"),
        ("mono/ours", "mono/ours/.dvc/tmp/exps/temp1/ours", "mono/ours"),  # dvc init --subdir
        ("theirs", "ours", "ours"),
        ("theirs", "theirs/ours", "theirs/ours"),
        ("theirs", "theirs/.dvc/tmp/exps/temp1/ours", "theirs/ours"),
        ("gone", "ours", "ours"),
    ],
)
def test_what_outlives_a_run_lies_in_the_project_itself(tmp_path, monkeypatch, outer, root, home):
    for folder in ("ours", "theirs/ours", "mono/ours"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "dvc.yaml").touch()
    monkeypatch.delenv("DVC_ROOT", raising=False)
    if outer:
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / outer))
    (tmp_path / root).mkdir(parents=True, exist_ok=True)
    assert project_home(tmp_path / root) == (tmp_path / home).resolve()
