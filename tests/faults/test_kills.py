"""The real stage scripts, killed: `dvc repro` again goes on by itself and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from stage_project import SECTIONS, SMALL, StageProject

SAVE_OFTEN = {"checkpoint_seconds": 0.3}


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory):
    """A project in which the pretraining ran once without interruption."""
    runtime = {"checkpoint_seconds": 0.1}
    project = StageProject(tmp_path_factory.mktemp("short"), runtime=runtime, pretrain={"epochs": 2, "model": SMALL})
    project.run("fetch_data")
    project.run("pretrain")
    assert project.checkpoints("pretrain") == []
    return project


def test_killed_asked_and_interrupted(pretraining):
    expected = pretraining.hashes("pretrain")
    pretraining.delete_outs("pretrain")
    before = -1
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = pretraining.start("pretrain")
        step = pretraining.wait_for_checkpoint("pretrain", process, after=before)
        process.send_signal(number)
        began = time.monotonic()
        assert process.wait(30) == code
        assert time.monotonic() - began < 30
        said = pretraining.said("pretrain")
        assert "Traceback" not in said
        if number != signal.SIGKILL:
            assert "interrupted; run the same command again to resume" in said
            assert f"resuming after step {before}," in said
        assert not (pretraining.folder / "models/pretrain").exists()
        before = max(int(path.name.removeprefix("step-")) for path in pretraining.checkpoints("pretrain"))
        assert before >= step
    pretraining.run("pretrain")
    assert f"resuming after step {before}," in pretraining.said("pretrain")
    assert pretraining.hashes("pretrain") == expected
    assert pretraining.checkpoints("pretrain") == []
    assert not list((pretraining.folder / "models").glob(".*"))
    (second, first) = pretraining.runs("pretrain")
    assert (first[0], second[0]) == ("FINISHED", "FINISHED")
    assert set(second[1].values()) == {1}
    timed = ("per_second", "system/")  # these depend on the clock
    ours, whole = (
        {point for point in points if not any(word in point[0] for word in timed)} for _, points in (second, first)
    )
    assert ours == whole


@pytest.mark.slow
def test_a_stage_ends_when_its_dvc_is_gone_and_other_runtime_settings_go_on_with_a_warning(pretraining):
    """DVC starts a stage through a shell, which may stay in between."""
    pretraining.delete_outs("pretrain")
    middle = (
        "import subprocess, sys; "
        "subprocess.run(['sh', '-c', f'{sys.executable} stages/pretrain.py; true'], stderr=open('pretrain.log', 'w'))"
    )
    environment = {"DVC_STAGE": "pretrain", "PATH": "/usr/bin:/bin"}
    dvc = subprocess.Popen([sys.executable, "-c", middle], cwd=pretraining.folder, env=environment)
    step = pretraining.wait_for_checkpoint("pretrain", dvc)
    dvc.kill()
    dvc.wait()
    ended = time.monotonic() + 30
    while "interrupted" not in pretraining.said("pretrain"):
        assert time.monotonic() < ended, pretraining.said("pretrain")
        time.sleep(0.1)
    assert "the parent process is gone: ending" in pretraining.said("pretrain")
    with pretraining.edited("runtime.deterministic", False):
        pretraining.run("pretrain")  # waits for the other's last second, then goes on
    assert "resuming after step" in pretraining.said("pretrain")
    assert "equal bits are no longer promised" in pretraining.said("pretrain")
    assert step >= 0


@pytest.mark.slow
def test_not_a_number_ends_the_stage_in_one_line(pretraining):
    pretraining.delete_outs("pretrain")
    with pretraining.edited("pretrain.optimizer.lr", 1e30):
        assert pretraining.start("pretrain").wait() == 1
    last = pretraining.said("pretrain").splitlines()[-1]
    assert last.startswith("pretrain: error: step ")
    assert "expected finite numbers" in last
    assert "learning rate" in last
    assert not (pretraining.folder / "models/pretrain").exists()


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", SECTIONS)
def test_killed_at_random_times(stage, tmp_path, capsys):
    """At least 50 kills; more with the environment variable KILLS, other moments with SEED."""
    kills, seed = int(os.environ.get("KILLS", "50")), int(os.environ.get("SEED", "1"))
    section = SECTIONS[stage]
    project = StageProject(tmp_path / "project", runtime=SAVE_OFTEN, **{section: {"epochs": 1}})
    with capsys.disabled():
        print(f"\n{stage}: {kills} kills at random times (seed {seed})", flush=True)
        project.run("fetch_data")
        if stage != "pretrain":
            project.run("download_gpt2")
        if stage == "finetune_classify":
            project.run("split_spam")
        began = time.monotonic()
        project.run(stage)
        report = project.kill_again_and_again(stage, kills, time.monotonic() - began, seed)
        print(f"{stage}: {report}", flush=True)
    assert report.mismatches == []
    assert report.kills >= kills
    assert report.resumes > 0
    assert project.checkpoints(stage) == []
    assert max(report.lost_seconds) < 30
    statuses = {status for status, _ in project.runs(stage)}
    assert statuses <= {"FINISHED", "KILLED"}
    assert all(set(points.values()) <= {1} for _, points in project.runs(stage))
