"""Running a study: what `dvc` is asked for, what is not run again, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpt_from_scratch import cli
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments.runner import run_study
from gpt_from_scratch.experiments.study import read_study
from tests.params_file import set_params


@pytest.fixture
def run(project):
    def call(**options):
        said: list[str] = []
        study = read_study(project, "tried")
        outcomes = run_study(project, "tried", study, **{"reduced": True, **options}, say=said.append)
        return {outcome.name: outcome for outcome in outcomes}, said

    return call


def test_every_variant_is_an_experiment_and_a_failure_stops_none(run, asked, project):
    outcomes, said = run()
    states = {name: outcome.state for name, outcome in outcomes.items()}
    assert states == {
        "tried-plain-reduced": "done",
        "tried-broken-reduced": "failed",
        "tried-fast-reduced": "done",
        "tried-large-reduced": "skipped",
        "tried-filed-reduced": "skipped",
    }
    assert outcomes["tried-broken-reduced"].reason == "pretrain: error: weight_decay: too large"
    assert "--full" in outcomes["tried-large-reduced"].reason
    assert "data/other.json" in outcomes["tried-filed-reduced"].reason
    assert asked()[-1] == [
        *("exp", "run", "--temp", "--name", "tried-fast-reduced", "-S", "pretrain.schedule.kind=constant"),
        *("-S", "pretrain.optimizer.lr=0.01", "-S", "pretrain.epochs=1", "pretrain"),
    ]
    assert any(line.startswith("[3/3] tried-fast-reduced: done in") for line in said)
    assert (project / ".cache/experiments/tried-fast-reduced.log").exists()


def test_what_has_run_is_not_run_again_until_settings_or_code_change(run, asked, project):
    run(only=["plain"])
    asked()
    outcomes, _ = run(only=["plain"])
    assert outcomes["tried-plain-reduced"].state == "present"
    assert asked() == []
    (project / "docs/new.md").write_text("not code\n")
    assert run(only=["plain"])[0]["tried-plain-reduced"].state == "present"

    (project / "src/model.py").write_text("width = 2\n")
    assert run(only=["plain"])[0]["tried-plain-reduced"].state == "done"
    assert [words[:2] for words in asked()] == [["exp", "run"]]
    assert run(only=["plain"])[0]["tried-plain-reduced"].state == "present"

    set_params(project / "params.yaml", {"pretrain.stride": 32})
    assert run(only=["plain"])[0]["tried-plain-reduced"].state == "done"
    assert run(only=["plain"], changes={"pretrain.batch_size": 4})[0]["tried-plain-reduced"].state == "done"


def test_the_two_settings_lie_side_by_side_and_full_runs_what_is_large(run, asked):
    run(only=["plain"])
    outcomes, _ = run(only=["plain", "large"], reduced=False)
    assert {name: outcome.state for name, outcome in outcomes.items()} == {"tried-plain": "done", "tried-large": "done"}
    assert not any("pretrain.epochs=1" in words for words in asked()[1:])
    assert run(only=["plain"])[0]["tried-plain-reduced"].state == "present"


def test_a_file_that_dvc_knows_is_no_reason_to_skip(run, project):
    (project / "data").mkdir()
    (project / "data/other.json").write_text("[]")
    assert "which DVC does not know" in run(only=["filed"])[0]["tried-filed-reduced"].reason
    (project / "data/other.json.dvc").write_text("outs: []\n")
    subprocess.run(["git", "add", "data/other.json.dvc"], cwd=project, check=True)
    assert run(only=["filed"])[0]["tried-filed-reduced"].state == "done"


def test_an_unknown_parameter_fails_its_variant_alone(run, project):
    study = project / "experiments/tried.yaml"
    study.write_text(study.read_text().replace("pretrain.optimizer.lr: 0.01", "pretrain.optimizer.rate: 0.01"))
    outcomes, _ = run(only=["plain", "fast"])
    assert outcomes["tried-plain-reduced"].state == "done"
    assert "pretrain.optimizer.rate: unknown parameter" in outcomes["tried-fast-reduced"].reason


def test_code_that_git_does_not_know_is_warned_of(run, project):
    (project / "src/new.py").touch()
    assert any("src/new.py is unknown to git" in line for line in run(only=["plain"])[1])


def test_an_unknown_variant_is_refused_with_the_known_ones(run):
    with pytest.raises(InputError, match=r"plain, broken, fast.*'plane'"):
        run(only=["plane"])


def test_the_command_works_below_the_project_and_says_at_its_end_what_failed(project, monkeypatch):
    monkeypatch.chdir(project / "docs")
    monkeypatch.setattr("gpt_from_scratch.experiments.studies.show", lambda root, name: "")
    result = CliRunner().invoke(cli.app, ["experiments", "run", "tried", "--only", "plain", "--only", "broken"])
    assert result.exit_code == 1
    assert "tried: 1 done, 1 failed" in result.stdout
    assert result.stdout.splitlines()[-2].endswith("weight_decay: too large")
    assert CliRunner().invoke(cli.app, ["experiments", "run", "tried", "--only", "plain"]).exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_reaches_dvc_and_is_waited_for(project, number):
    code = "from gpt_from_scratch.cli import app; app()"
    command = [sys.executable, "-c", code, "experiments", "run", "tried", "--only", "plain", "--only", "fast"]
    child = subprocess.Popen(command, env={**os.environ, "STAND_IN_WAITS": "1"}, stdout=subprocess.PIPE, text=True)
    log = project / ".cache/experiments/tried-plain-reduced.log"
    deadline = time.monotonic() + 60
    while not (log.exists() and "waiting" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    child.send_signal(number)
    output, _ = child.communicate(timeout=60)
    assert child.returncode != 0
    assert (project / ".git/interrupted").exists()
    assert "tried-fast" not in output


def test_a_cache_whose_path_dvc_cannot_write_is_refused_with_the_cure(run, asked, monkeypatch):
    monkeypatch.setattr("gpt_from_scratch.pipeline.dvc.cache_folder", lambda root: Path("/home/jürgen/p/.dvc/cache"))
    with pytest.raises(InputError, match=r"found /home/jürgen/p/\.dvc/cache; move it: dvc cache dir --local"):
        run()
    assert asked() == []
