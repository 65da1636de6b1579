"""Cleaning: large outputs go, everything that cannot be made again stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gpt_from_scratch.tools.cleaning import MADE, clean, readable


def test_outputs_go_and_the_rest_stays(tmp_path: Path) -> None:
    gone = ["data/raw/bpe/vocab.bpe", "models/gpt2/124M/config.json", ".dvc/cache/files/md5/ab/cd", ".cache/a/b"]
    kept = ["data/sample/text.txt", "models/.gitignore", ".dvc/config", ".venv/bin/gpt", "mlflow.db", "params.yaml"]
    for name in gone + kept:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1234567890")
    assert clean(tmp_path) == 10 * len(gone)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)
    assert clean(tmp_path) == 0


def test_what_a_link_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/precious").write_text("x")
    (tmp_path / "project/data").mkdir(parents=True)
    (tmp_path / "project/.cache").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "project/data/raw").mkdir()
    (tmp_path / "project/data/raw/link").symlink_to(tmp_path / "elsewhere")
    clean(tmp_path / "project")
    assert (tmp_path / "elsewhere/precious").is_file()
    assert [path.name for path in (tmp_path / "project").iterdir()] == ["data"]


def test_every_cached_output_of_the_stages_is_cleaned(root: Path) -> None:
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    cached = {out for stage in stages for out in stage.get("outs", []) if isinstance(out, str)}
    assert cached
    for out in cached:
        assert any(Path(out).match(pattern.rstrip("/")) for pattern in MADE), out


def test_it_runs_without_any_package_and_only_in_a_project(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c"]
    code = f"import sys, runpy; sys.path.insert(0, {str(root / 'src')!r}); "
    code += "runpy.run_module('gpt_from_scratch.tools.cleaning', run_name='__main__')"
    refused = subprocess.run([*command, code], cwd=tmp_path, capture_output=True, text=True)
    assert (refused.returncode, "no dvc.yaml" in refused.stderr) == (1, True)
    (tmp_path / "dvc.yaml").touch()
    done = subprocess.run([*command, code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "0 bytes freed; `make repro` makes it again\n"


@pytest.mark.parametrize(("size", "text"), [(0, "0 bytes"), (1500, "2 kB"), (3_400_000, "3 MB"), (3.4e9, "3.4 GB")])
def test_sizes_can_be_read(size: int, text: str) -> None:
    assert readable(size) == text
