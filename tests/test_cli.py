"""The command `gpt`: what it prints, and how it ends."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gpt_from_scratch import __version__, cli
from gpt_from_scratch.errors import InputError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "profiles").mkdir()
    for name in ("book", "quick"):
        (tmp_path / "profiles" / f"{name}.yaml").write_text(f"profile: {name}\n")
    (tmp_path / "params.yaml").write_text("profile: quick\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_error_is_one_line_and_exit_code_1(project: Path) -> None:
    result = CliRunner().invoke(cli.app, ["use-profile", "bok"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_trace(project: Path) -> None:
    result = CliRunner().invoke(cli.app, ["--debug", "use-profile", "bok"])
    assert isinstance(result.exception, InputError)


def test_use_profile_works_from_a_folder_below(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "profiles")
    result = CliRunner().invoke(cli.app, ["use-profile", "book"])
    assert result.stdout == "params.yaml is now the profile book\n"
    assert (project / "params.yaml").read_text() == "profile: book\n"


def test_use_profile_says_that_the_text_is_not_there_yet(project: Path) -> None:
    (project / "profiles/own.yaml").write_text("profile: own\npretrain: {corpus: {path: data/corpus}}\n")
    result = CliRunner().invoke(cli.app, ["use-profile", "own"])
    assert (result.exit_code, result.stderr.count("\n")) == (0, 1)
    assert "data/corpus: no text there to pretrain on; put one there, see docs/corpora.md" in result.stderr
    (project / "data/corpus").mkdir(parents=True)
    assert CliRunner().invoke(cli.app, ["use-profile", "own"]).stderr == ""


def test_outside_a_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, ["clean"])
    assert result.exit_code == 1
    assert "no dvc.yaml" in result.stderr


def test_results_before_the_first_run(project: Path) -> None:
    result = CliRunner().invoke(cli.app, ["results"])
    assert result.exit_code == 1
    assert result.stderr.endswith("metrics/evaluation.json: file not found; make repro writes it\n")


def test_a_closed_stream_is_the_null_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    cli._gpt()
    assert (sys.stdin.buffer.read(), print("lost"), print("lost", file=sys.stderr)) == (b"", None, None)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_summary_before_the_first_run_writes_none(project: Path) -> None:
    result = CliRunner().invoke(cli.app, ["summary"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert not (project / "mlflow.db").exists()


def test_clean_says_how_much(project: Path) -> None:
    (project / "data/raw").mkdir(parents=True)
    (project / "data/raw/text.txt").write_bytes(bytes(2_500_000))
    result = CliRunner().invoke(cli.app, ["clean"])
    assert result.stdout.startswith("2 MB freed")


def test_ui_names_the_server_that_holds_the_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@tracking.invalid:5000")
    result = CliRunner().invoke(cli.app, ["ui"])
    assert "http://tracking.invalid:5000" in result.stderr
    assert "secret" not in result.output


def test_help_loads_nothing_heavy(root: Path) -> None:
    heavy = "torch", "mlflow", "tensorflow", "pandas", "sklearn", "numpy"
    code = (
        "import sys; from typer.testing import CliRunner; from gpt_from_scratch.cli import app; "
        f"assert CliRunner().invoke(app, ['--help']).exit_code == 0; print({heavy} & sys.modules.keys())"
    ).replace(f"{heavy}", f"set({heavy})")
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def commands(group: Any, *above: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)
        else:
            yield " ".join(("gpt", *above, name)), command


def test_the_help_of_every_command_has_an_example() -> None:
    found = dict(commands(typer.main.get_command(cli.app)))
    assert len(found) > 20
    for name, command in found.items():
        shown = f"{command.help} {command.epilog}"
        assert re.search(r"Examples?[:,]", shown), name
        assert re.search(rf"{name}\b", shown) or name == "gpt register", name
        assert command.hidden or getattr(command, "rich_help_panel", None) or len(name.split()) > 2, name


def test_the_version() -> None:
    assert CliRunner().invoke(cli.app, ["--version"]).stdout == f"gpt {__version__}\n"


def test_what_a_full_disk_cannot_take_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = typer.echo

    def full(text: str, *, err: bool = False) -> None:
        if not err:
            raise OSError(errno.ENOSPC, "No space left on device")
        echo(text, err=err)

    monkeypatch.setattr(typer, "echo", full)
    result = CliRunner().invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"error: .*No space left on device.*\n", result.stderr)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_that_lacks_a_character_gets_another_in_its_place(root: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", "from gpt_from_scratch.cli import app; app()", "results"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True)
    interval = rb"% \(\d+\.\d" + (rb"\\u2013" if encoding == "latin-1" else "–".encode()) + rb"\d+\.\d %\)"
    assert re.search(interval, done.stdout)
    assert b"Traceback" not in done.stderr


def test_ui_over_a_database_of_another_mlflow_is_one_line(
    root: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("gpt_from_scratch.tracking.views.serving", lambda *_: pytest.fail("MLflow was started"))
    made = "from pathlib import Path; from gpt_from_scratch.tracking.server import connect; connect(Path())"
    subprocess.run([sys.executable, "-c", made], env={**os.environ, "PYTHONPATH": str(root / "src")}, check=True)
    with sqlite3.connect(project / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'abcdef123456'")
    result = CliRunner().invoke(cli.app, ["ui"])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "found version abcdef123456" in line
    assert f"mlflow db upgrade sqlite:///{project / 'mlflow.db'}" in line
