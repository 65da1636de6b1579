"""A run that a later process resumes: one run, no point doubled and none missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpt_from_scratch.tracking import delivery, run, system
from gpt_from_scratch.tracking.run_file import RunFile
from gpt_from_scratch.tracking.server import connect
from gpt_from_scratch.training.loop import Record


def resumed(stage: run.StageRun, state: dict[str, Any] | None) -> run.StageRun:
    """Return a run that goes on where an earlier process left it."""
    stage.load_state_dict(state or {})
    return stage


def train(stage: run.StageRun, steps: range, *, save_at: int | None = None) -> dict | None:
    """Log what a training would; return what a checkpoint made at one of its steps carries."""
    carried = None
    for step in steps:
        stage.log(Record(step, "loss", 5.0 - step / 500, 1, 8 * (step + 1)))
        if step % 50 == 0:
            stage.log(Record(step, "validation_loss", 4.0, 1, 8 * (step + 1)))
        if step == save_at:
            carried = json.loads(json.dumps(stage.state_dict()))
    return carried


@pytest.mark.parametrize("death", ["asked", "shot", "shot before anything was sent"])
def test_a_run_goes_on_without_doubled_points(project, runs, death, pending, tmp_path) -> None:
    name = f"goes on, {death}"
    checkpoints = {"checkpoints": tmp_path / "checkpoints"}
    checkpoints["checkpoints"].mkdir()
    with run.track_stage(project, f"whole, {death}", {"a": 1}, "quick") as whole:
        train(whole, range(400))
    first = run.track_stage(project, name, {"a": 1}, "quick", **checkpoints).__enter__()
    if death == "asked":
        carried = train(first, range(300), save_at=299)
        first.__exit__(SystemExit, SystemExit(143), None)
        assert runs(name)[0].info.status == "KILLED"
    else:
        carried = train(first, range(300), save_at=199)
        if death == "shot":
            assert first._flush()
        shoot(first)
        with run.track_stage(project, f"between, {death}", {}, "quick"):
            pass
        assert runs(name)[0].info.status == "KILLED"
    with resumed(run.track_stage(project, name, {"a": 1}, "quick", **checkpoints), carried) as second:
        assert second.run_id == first.run_id
        assert runs(name)[0].info.status == "RUNNING"
        train(second, range(carried_step(death), 400))
        second.table([{"text": "b"}], "samples.json")
    (found,) = runs(name)
    assert found.info.status == "FINISHED"
    assert "error" not in found.data.tags
    client = connect(project).client
    for metric in ("loss/loss", "loss/validation_loss", "duration_seconds"):
        points = [point.step for point in client.get_metric_history(second.run_id, metric)]
        assert points == [point.step for point in client.get_metric_history(whole.run_id, metric)], metric
    assert (pending / carried["file"]).is_file()
    checkpoints["checkpoints"].rmdir()
    delivery.deliver_left(connect(project), project)
    assert not list(pending.glob("*.jsonl"))


def shoot(stage: run.StageRun) -> None:
    """Do what the system does when a process is killed."""
    stage._file.close()


def carried_step(death: str) -> int:
    return 299 if death == "asked" else 199


def test_a_table_is_not_sent_twice(project, runs) -> None:
    first = run.track_stage(project, "table", {}, "quick").__enter__()
    first.table([{"text": "a"}], "samples.json")
    first._flush()
    carried = first.state_dict()
    shoot(first)
    with resumed(run.track_stage(project, "table", {}, "quick"), carried) as second:
        second.table([{"text": "a"}], "samples.json")
        second.dataset("x", "x.txt", "0" * 64, "training")
    table = json.loads((project / "mlartifacts" / second.run_id / "artifacts/samples.json").read_text())
    assert table["data"] == [["a"]]


def test_a_deleted_run_begins_anew(project, runs, tmp_path) -> None:
    with run.track_stage(project, "deleted", {}, "quick", checkpoints=tmp_path) as first:
        train(first, range(10))
        carried = first.state_dict()
    connect(project).client.delete_run(first.run_id)
    with resumed(run.track_stage(project, "deleted", {}, "quick", checkpoints=tmp_path), carried) as second:
        train(second, range(9, 20))
    assert [found.info.run_id for found in runs("deleted")] == [second.run_id] != [first.run_id]
    history = connect(project).client.get_metric_history(second.run_id, "loss/loss")
    assert [point.step for point in history] == list(range(20))


@pytest.mark.parametrize("lost", ["created", "delivered"])
def test_a_process_killed_while_it_sends_doubles_nothing(project, runs, monkeypatch, lost) -> None:
    """Killed before it noted the run's id, or before it noted that everything was sent."""
    append = RunFile.append

    def forget(run, kind, **content):
        if kind != lost:
            append(run, kind, **content)
        elif kind == "created":
            raise ConnectionError("killed")

    name = f"{lost} was not noted"
    with monkeypatch.context() as patch:
        patch.setattr(RunFile, "append", forget)
        stage = run.track_stage(project, name, {"a": 1}, "quick").__enter__()
        stage.metrics({"accuracy": 0.5}, 3)
        stage.table([{"a": 1}], "rows.json")
        stage.dataset("x", "x.txt", "0" * 64, "training")
        assert stage._flush() is (lost == "delivered")
    shoot(stage)
    assert delivery.deliver_left(connect(project), project) == 1
    (found,) = runs(name)
    assert (found.info.status, found.data.params) == ("KILLED", {"a": "1"})
    client = connect(project).client
    assert len(client.get_metric_history(found.info.run_id, "accuracy")) == 1
    assert len(found.inputs.dataset_inputs) == 1
    table = json.loads(Path(client.download_artifacts(found.info.run_id, "rows.json")).read_text())
    assert table["data"] == [[1]]


def test_a_torn_last_line_is_dropped_and_a_live_run_left_alone(project, runs, pending) -> None:
    with run.track_stage(project, "at work", {}, "quick") as stage:
        assert delivery.deliver_left(connect(project), project) == 0
        assert runs("at work")[0].info.status == "RUNNING"
        stage.metrics({"accuracy": 0.5}, 1)
        path = stage._file.path
        shoot(stage)
        with path.open("ab") as file:
            file.write(b'{"kind": "points", "poi')
        assert delivery.deliver_left(connect(project), project) == 1
    assert runs("at work")[0].data.metrics["accuracy"] == 0.5


def test_a_full_disk_costs_nothing_as_long_as_the_tracking_answers(project, runs, monkeypatch, caplog) -> None:
    with run.track_stage(project, "full", {}, "quick") as stage:
        with monkeypatch.context() as patch:
            patch.setattr("os.write", lambda file, content: len(content) - 1)
            stage.metrics({"accuracy": 0.5}, 1)
            stage.metrics({"accuracy": 0.6}, 2)
        assert not stage._file.stored
        stage.metrics({"accuracy": 0.7}, 3)
        assert stage._file.stored
        lines = [json.loads(line) for line in stage._file.path.read_text().splitlines()]
    points = [point for line in lines if line.get("kind") == "points" for point in line["points"]]
    assert [point[1] for point in points if point[0] == "accuracy"] == [0.5, 0.6, 0.7]
    assert caplog.text.count("cannot be written: no space left") == 1
    assert runs("full")[0].data.metrics["accuracy"] == 0.7


def test_a_table_grows_in_the_run_that_goes_on_and_holds_no_row_twice(project, runs) -> None:
    rows = [{"epoch": epoch, "text": "it — goes"} for epoch in (1, 2, 3)]
    first = run.track_stage(project, "grown table", {}, "quick").__enter__()
    first.table(rows[:1], "samples.json")
    carried = first.state_dict()
    first.table(rows[1:2], "samples.json")  # after the checkpoint, and sent before the end
    first._flush()
    shoot(first)
    with resumed(run.track_stage(project, "grown table", {}, "quick"), carried) as second:
        second.table(rows[1:2], "samples.json")
        second.table(rows[2:], "samples.json")
        second.table(rows, "samples.json")
    table = json.loads((project / "mlartifacts" / second.run_id / "artifacts/samples.json").read_text())
    assert table["columns"] == ["epoch", "text"]
    assert table["data"] == [[1, "it — goes"], [2, "it — goes"], [3, "it — goes"]]


def test_what_the_machine_does_is_noted_and_goes_on_in_a_later_process(project, monkeypatch) -> None:
    seconds = 0.0
    monkeypatch.setattr(run.StageRun, "_seconds", lambda self: seconds)
    first = run.track_stage(project, "machine", {}, "quick").__enter__()
    for seconds in range(0, 3600):
        first.metrics({"a": 1.0}, int(seconds))
    carried = first.state_dict()
    first._flush()
    shoot(first)
    seconds = 3500.0
    with resumed(run.track_stage(project, "machine", {}, "quick"), carried) as second:
        for seconds in range(3500, 4000):
            second.metrics({"b": 1.0}, int(seconds))
    client = connect(project).client
    names = {name for name in client.get_run(second.run_id).data.metrics if name.startswith("system/")}
    assert {"system/cpu_utilization_percentage", "system/process_memory_megabytes"} <= names
    assert len(names) <= 6
    history = client.get_metric_history(second.run_id, "system/process_memory_megabytes")
    steps = [point.step for point in history]
    assert steps == sorted(set(steps)) and 5 <= steps[0] <= 6 and steps[-1] == 3999
    assert 80 < len(steps) < 110
    assert all(5 < point.value < 100_000 for point in history)


def test_the_machine_is_noted_once_a_second_also_at_the_end_and_after_a_resumption(project, monkeypatch) -> None:
    monkeypatch.setattr(system, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(system, "GROWTH", 1.0)
    monkeypatch.setattr(run.StageRun, "_seconds", lambda self: self._spent + 7.4)
    with run.track_stage(project, "train", {}, "quick") as first:
        first.text("a", "a.txt")
        first.text("b", "b.txt")
        carried = first.state_dict()
    monkeypatch.setattr(run.StageRun, "_seconds", lambda self: self._spent + 0.1)
    with resumed(run.track_stage(project, "train", {}, "quick"), carried) as second:
        second.text("c", "c.txt")
    client = connect(project).client
    for history in (
        client.get_metric_history(one.run_id, "system/cpu_utilization_percentage") for one in (first, second)
    ):
        assert len({point.step for point in history}) == len(history) <= 2


def test_the_best_loss_survives_a_resumed_run(project, runs, tmp_path) -> None:
    losses = [5.0, 3.0, 4.0, float("nan"), 3.5]
    earlier = None
    for steps in (range(3), range(2, 5)):
        with resumed(run.track_stage(project, "best", {}, "quick", checkpoints=tmp_path), earlier) as stage:
            for step in steps:
                stage.log(Record(step, "validation_loss", losses[step], 1, step))
            earlier = json.loads(json.dumps(stage.state_dict()))
    (found,) = runs("best")
    assert [found.data.metrics[name] for name in ("best_validation_loss", "best_step")] == [3.0, 1.0]
