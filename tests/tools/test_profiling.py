"""The profile of a stage: what it writes, and that it touches nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gpt_from_scratch import cli
from gpt_from_scratch.data.raw.sources import SAMPLE
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.tools.profiling import profile_stage

SMALL = {"context_length": 16, "emb_dim": 8, "n_heads": 2, "n_layers": 1}


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(root / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "dvc.yaml", folder)
    raw = folder / "data" / "raw"
    for place, name in SAMPLE.items():
        (raw / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "data" / "sample" / name, raw / place)
    hashes = {place: sha256(raw / place) for place in SAMPLE}
    (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))
    params = yaml.safe_load((root / "profiles/quick.yaml").read_text())
    params["pretrain"]["model"] |= SMALL
    params["pretrain"] |= {"stride": 512, "batch_size": 2, "epochs": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_a_training_is_watched_and_writes_nothing(project: Path, tmp_path: Path) -> None:
    before = files(project)
    found = profile_stage(project, "pretrain", 3, tmp_path / "out")
    assert found.steps == 3
    assert files(project) == before
    events = json.loads(found.trace.read_text())["traceEvents"]
    updates = [event for event in events if event.get("name") == "Optimizer.step#AdamW.step"]
    assert len(updates) == 3
    assert "aten::mm" in (tmp_path / "out" / "operators.txt").read_text()


def test_a_training_ends_before_it_writes_its_model(project: Path, tmp_path: Path) -> None:
    before = files(project)
    found = profile_stage(project, "pretrain", 1000, tmp_path / "out")
    assert 0 < found.steps < 1000
    assert files(project) == before


def test_too_few_updates(project: Path, tmp_path: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["pretrain"] |= {"batch_size": 14}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(InputError, match="training: expected more than 2 updates to profile, found"):
        profile_stage(project, "pretrain", 1, tmp_path / "out")


def test_only_stages_that_compute(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr("gpt_from_scratch.params.pins.pin_instructions", lambda runtime: None)
    result = CliRunner().invoke(cli.app, ["profile", "split_spam"])
    assert result.exit_code == 1
    assert "expected one that computes (pretrain, finetune_classify," in result.stderr


def test_inputs_that_are_not_there_are_named(project: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"models/instruct.* not found"):
        profile_stage(project, "evaluate", 1, tmp_path / "out")
