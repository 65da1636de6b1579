"""Real stage scripts in two processes: the result of one, told to end, shot, and started by torchrun."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time

import psutil
import pytest
from stage_project import SMALL, StageProject

SETTINGS = {"checkpoint_seconds": 0.1, "threads": 1}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose pretraining, without dropout, ran once in one process; and its figures."""
    training = {"epochs": 2, "model": SMALL | {"drop_rate": 0.0}}
    project = StageProject(tmp_path_factory.mktemp("processes"), runtime=SETTINGS, pretrain=training)
    project.run("fetch_data")
    project.run("pretrain")
    return project, figures(project)


def figures(project):
    return json.loads((project.folder / "metrics/pretrain.json").read_text())


def assert_same(project, expected):
    found = figures(project)
    for moment in ("initial", "final"):
        assert found.pop(moment) == pytest.approx(expected[moment], rel=1e-4), moment
    assert found == {key: value for key, value in expected.items() if key not in ("initial", "final")}
    assert project.checkpoints("pretrain") == []


def started_in_two(project):
    """Start the stage, wait for a checkpoint, and return it with the other process."""
    project.delete_outs("pretrain")
    process = project.start("pretrain")
    project.wait_for_checkpoint("pretrain", process)
    (other,) = [child for child in psutil.Process(process.pid).children() if "pretrain.py" in " ".join(child.cmdline())]
    return process, other


@pytest.mark.slow
def test_told_to_end_and_gone_on_with_in_one(project):
    project, expected = project
    with project.edited("runtime.processes", 2):
        process, other = started_in_two(project)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        psutil.wait_procs([other], 5)
        assert not other.is_running()
        assert "interrupted; run the same command again to resume" in project.said("pretrain")
        assert "Traceback" not in project.said("pretrain")
    project.run("pretrain")
    assert "resuming after step" in project.said("pretrain")
    assert "equal bits are no longer promised" in project.said("pretrain")
    assert_same(project, expected)
    assert [status for status, _ in project.runs("pretrain")] == ["FINISHED", "FINISHED"]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "code"), [([], 129), (["nohup"], 0)])
def test_a_closed_terminal_saves_and_under_nohup_nothing_ends(project, before, code):
    project, expected = project
    project.delete_outs("pretrain")
    child, terminal = pty.fork()
    if not child:
        os.chdir(project.folder)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup themselves
        command = [*before, sys.executable, "stages/pretrain.py"]
        os.execvp(command[0], command)
    while not project.checkpoints("pretrain"):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended before it was to be interrupted"
        time.sleep(0.05)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    if code:
        project.run("pretrain")
        assert "resuming after step" in project.said("pretrain")
    assert_same(project, expected)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_a_process_that_is_shot_ends_the_other_and_both_go_on(project, sharding):
    project, expected = project
    with project.edited("runtime.processes", 2), project.edited("runtime.sharding", sharding):
        process, other = started_in_two(project)
        other.kill()
        assert process.wait(30) == 1
        said = project.said("pretrain")
        assert "error: expected 2 processes to the end, found that process 1 was ended by SIGKILL" in said
        assert "Traceback" not in said
        project.run("pretrain")
        assert "resuming after step" in project.said("pretrain")
    assert_same(project, expected)


@pytest.mark.slow
def test_started_by_torchrun(project):
    project, expected = project
    project.delete_outs("pretrain")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_"))}
    answer = subprocess.run(
        [*command, "stages/pretrain.py"], cwd=project.folder, env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.count("pretrain: done in") == 1
    assert_same(project, expected)
    assert len([status for status, _ in project.runs("pretrain") if status == "FINISHED"]) >= 2


@pytest.mark.slow
def test_more_processes_than_a_batch_has_sequences(project):
    project, _ = project
    project.delete_outs("pretrain")
    with project.edited("runtime.processes", 2), project.edited("pretrain.batch_size", 1):
        process = project.start("pretrain")
        assert process.wait(60) == 1
    said = project.said("pretrain")
    assert "batch_size: expected a sequence for each of 2 processes, found 1" in said
    assert "Traceback" not in said
