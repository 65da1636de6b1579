"""DVC's queue: what is asked of it, until all has ended or Ctrl-C comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt_from_scratch.experiments import dvc_queue

# As `dvc queue status` of DVC 3.67 prints it.
STATUS = """\
Task     Name    Created    Status
004ab3a  one     11:15 PM   {one}
fd0e160  two     Nov 25, 2026   {two}
aaaaaaa  theirs  11:15 PM   Queued

Worker status: 1 active, 1 idle
"""


@pytest.fixture
def queue(monkeypatch):
    """Let `dvc` answer with one state after the other; returns what it was asked for."""
    asked: list[list[str]] = []

    def begin(*states: tuple[str, str]) -> list[list[str]]:
        left = list(states)

        def answer(root: Path, *arguments: str) -> str:
            asked.append(list(arguments))
            if arguments[1] == "status":
                one, two = left.pop(0) if len(left) > 1 else left[0]
                if one == "Ctrl-C":
                    left[:] = [("Running", "Queued")]
                    raise KeyboardInterrupt
                return STATUS.format(one=one, two=two)
            return "> python stages/pretrain.py\npretrain: error: lr: too large\n" if arguments[1] == "logs" else ""

        monkeypatch.setattr(dvc_queue, "dvc_output", answer)
        monkeypatch.setattr(dvc_queue, "run_dvc", lambda root, arguments, log: asked.append(list(arguments)))
        return asked

    return begin


def run(tmp_path: Path, said: list[str]) -> dict[str, str]:
    return dvc_queue.run_queue(tmp_path, ["one", "two"], 3, lambda name: tmp_path / f"{name}.log", said.append, 0.0)


def test_it_waits_until_all_have_ended_and_says_why_one_failed(queue, tmp_path):
    asked = queue(("Queued", "Queued"), ("Running", "Running"), ("Success", "Running"), ("Success", "Failed"))
    said: list[str] = []
    assert run(tmp_path, said) == {"one": "", "two": "pretrain: error: lr: too large"}
    assert asked[0] == ["queue", "start", "--jobs", "3"]
    assert said == [
        "[0/2] one: running",
        "[0/2] two: running",
        "[1/2] one: success",
        "[2/2] two: failed",
    ]
    assert ["queue", "remove", "one"] in asked
    assert not any("theirs" in words for words in asked)


def test_ctrl_c_ends_what_runs_and_takes_out_what_waits(queue, tmp_path):
    asked = queue(("Running", "Queued"), ("Ctrl-C", ""))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, [])
    assert asked[-3:] == [["queue", "remove", "two"], ["queue", "kill", "one"], ["queue", "stop"]]
