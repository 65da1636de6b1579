"""Stages side by side: real ones of DVC, and what decides whether they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
import yaml

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params.sections import Runtime
from gpt_from_scratch.pipeline import side_by_side
from gpt_from_scratch.pipeline.dvc import dvc_output, locked_stages, ran_with, stale_stages

MEETING = """
import sys, time
from pathlib import Path
own, other, failing = sys.argv[1:]
Path(own + ".began").touch()
end = time.monotonic() + 60
while not Path(other + ".began").exists():
    assert time.monotonic() < end, "the other stage never began"
    time.sleep(0.02)
if Path(failing).exists():
    sys.exit(f"{own}: error: {failing} is there")
time.sleep(0.5)
Path(own).write_text(own)
"""
"""A stage that ends only if another runs at the same time."""

COPY = "import sys; open(sys.argv[-1], 'w').write(''.join(open(name).read() for name in sys.argv[1:-1]))"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the stages raw, then left and right, then joined."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "meet.py").write_text(MEETING)
    (tmp_path / "joins.py").write_text(COPY)
    (tmp_path / "source").write_text("source")
    stages = {
        "raw": {"cmd": "python joins.py source raw", "deps": ["source"], "outs": ["raw"]},
        "left": {"cmd": "python meet.py left right none", "deps": ["raw"], "outs": ["left"]},
        "right": {"cmd": "python meet.py right left fail", "deps": ["raw"], "outs": ["right"]},
        "joined": {"cmd": "python joins.py left right joined", "deps": ["left", "right"], "outs": ["joined"]},
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    return tmp_path


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_at_once_a_failure_and_the_rest_later(
    project: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stale_stages(project) == {
        "raw": set(),
        "left": {"raw"},
        "right": {"raw"},
        "joined": {"raw", "left", "right"},
    }
    (project / "fail").touch()
    assert side_by_side.repro(project, 2) != 0
    said = capfd.readouterr()
    assert "right: error: fail is there" in said.err
    assert set(locked_stages(project)) == {"raw", "left"}  # the one beside it was not stopped, and counts
    assert not (project / "joined").exists()
    (project / "fail").unlink()
    assert stale_stages(project) == {"right": set(), "joined": {"right"}}
    assert side_by_side.repro(project, 2) == 0
    said = capfd.readouterr().out
    assert (project / "joined").read_text() == "leftright"
    assert "Running stage 'left'" not in said
    assert said.count("To track the changes with git") <= 1
    assert stale_stages(project) == {}
    assert ran_with(project, "raw", "source")
    (project / "source").write_text("another")
    assert not ran_with(project, "raw", "source")
    assert ran_with(project, "unknown", "source")
    monkeypatch.setattr("gpt_from_scratch.pipeline.dvc.find_spec", lambda name: None)
    assert ran_with(project, "raw", "source")


def test_what_dvc_runs_each_time_or_not_at_all_is_left_to_it(project: Path) -> None:
    stages = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    stages |= {
        "each_time": {"cmd": "true", "deps": ["raw"], "outs": ["time"], "always_changed": True},
        "callback": {"cmd": "true"},
        "after": {"cmd": "true", "deps": ["time", "source"], "outs": ["after"]},
        "below": {"cmd": "true", "deps": ["sub/needed"]},
    }
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (project / "sub").mkdir()
    inner = {name: {"cmd": "true", "deps": ["../raw"], "outs": [name]} for name in ("needed", "other")}
    (project / "sub/dvc.yaml").write_text(yaml.safe_dump({"stages": inner}))
    assert stale_stages(project) == {
        "raw": set(),
        "left": {"raw"},
        "right": {"raw"},
        "joined": {"raw", "left", "right"},
        "below": {"raw", "sub/dvc.yaml:needed"},
        "sub/dvc.yaml:needed": {"raw"},
    }


def test_what_dvc_cannot_read_is_left_to_it(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: [")
    assert stale_stages(project) == {}


def test_an_error_of_dvc_is_told_by_the_line_that_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "WARNING: failed to load x\nERROR: unexpected error - a codec\n\nHaving any troubles? Hit us up!\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: Mock(returncode=255, stderr=said))
    with pytest.raises(InputError, match="dvc metrics diff: ERROR: unexpected error - a codec"):
        dvc_output(tmp_path, "metrics", "diff", "--md")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pause_and_a_request_to_end_reach_every_stage(root: Path, tmp_path: Path, number: signal.Signals) -> None:
    child = f"""
import subprocess, sys, time
from pathlib import Path
from gpt_from_scratch.pipeline import side_by_side, signals

STAGE = "import pathlib, sys, time; own = pathlib.Path(sys.argv[1])\\ntry:\\n own.touch(); time.sleep(60)\\n" \
    "except KeyboardInterrupt: own.write_text('saved')"

def start(root, arguments, environment, stdout):
    command = [sys.executable, "-c", STAGE, arguments[-1]]
    return subprocess.Popen(command, cwd=root, stdout=stdout, start_new_session=True)

signals.listen()
side_by_side.start_dvc = start
side_by_side.stale_stages = lambda root: {{"first": set(), "second": set(), "last": {{"first", "second"}}}}
side_by_side.repro(Path({str(tmp_path)!r}), 2)
"""
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    process = subprocess.Popen([sys.executable, "-c", child], env=environment, start_new_session=True)
    try:
        wait_for(lambda: all((tmp_path / name).exists() for name in ("first", "second")))
        time.sleep(0.2)
        pausing = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        process.send_signal(signal.SIGTSTP)
        wait_for(lambda: all(one.status() == "stopped" for one in pausing))
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: all(one.status() != "stopped" for one in pausing))
        process.send_signal(number)
        assert process.wait(60) not in (0, None)
    finally:
        process.kill()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"first": "saved", "second": "saved"}


@pytest.mark.parametrize(
    ("runtime", "cores", "gigabytes", "gpu", "expected"),
    [
        ({"threads": 1}, 2, 64, False, 2),
        ({"threads": 1}, 1, 64, False, 1),
        ({"threads": 2}, 2, 64, False, 1),
        ({"threads": 2}, 8, 64, False, 4),
        ({"threads": 2, "processes": 2}, 8, 64, False, 2),
        ({"threads": 0}, 8, 64, False, 1),
        ({"threads": 1}, 8, 5, False, 2),
        ({"threads": 1}, 8, 1, False, 1),
        ({"threads": 1}, 8, 64, True, 1),
        ({"threads": 1, "device": "cpu"}, 8, 64, True, 8),
        ({"threads": 1, "device": "cuda"}, 8, 64, False, 1),
    ],
)
def test_each_has_cores_and_memory_of_its_own_and_none_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    runtime: dict,
    cores: int,
    gigabytes: int,
    gpu: bool,
    expected: int,
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Mock(available=gigabytes * 1024**3))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    node = tmp_path / "nvidia0"
    monkeypatch.setattr(side_by_side, "GPU_NODES", (str(node),))
    if gpu:
        node.touch()
    assert side_by_side.stages_at_once(Runtime(**runtime)) == expected
