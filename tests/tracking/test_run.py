"""One run per stage: what it holds, how it ends, and what happens while the tracking is away."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.tracking import delivery, run, server, system
from gpt_from_scratch.tracking.facts import STATE
from gpt_from_scratch.tracking.notes import run_name
from gpt_from_scratch.tracking.run_file import RunFile
from gpt_from_scratch.tracking.server import connect, tracking_uri
from gpt_from_scratch.training.loop import Record


@pytest.fixture
def away(monkeypatch) -> Callable[..., None]:
    """A function that makes everything fail that is to be delivered, until called with False."""
    deliver = delivery.deliver

    def fail(tracking, file):
        raise ConnectionError("no route\nto host")

    def switch(is_away: bool = True) -> None:
        monkeypatch.setattr(run, "deliver", fail if is_away else deliver)

    return switch


def test_a_run_holds_what_the_stage_logged(project, runs, root, tmp_path) -> None:
    params = load_params(root / "profiles/book.yaml").model_dump(mode="json")
    picture = tmp_path / "curve.svg"
    picture.write_text("<svg/>")
    with run.track_stage(project, "whole", params, "book", state="abc", counts="examples") as stage:
        for step in range(1000):
            for name, value in (("loss", 5.0 - step / 500), ("lr", 1e-4)):
                stage.log(Record(step, name, value, 1, 8 * (step + 1)))
            if step % 100 == 0:
                stage.log(Record(step, "validation_loss", float("nan") if step == 0 else 4.0, 1, 8 * (step + 1)))
        stage.log(Record(999, "epoch", 1.0, 1, 8000))
        stage.metrics({"accuracy on test": 0.9})
        stage.metrics({"perplexity": 20.0}, step=999)
        stage.text("Every effort", "samples/greedy.txt")
        stage.table([{"prompt": "a", "text": "b"}], "samples.json")
        stage.table([{"prompt": "c", "text": "d"}], "samples.json")
        stage.artifact(picture, "plots")
        stage.dataset("the-verdict.txt", "data/raw/text.txt", "0123456789abcdef" * 4, "training")
        stage.tags({"data": "upstream", "pretrained": "synthetic", "converged": True})

    (found,) = runs("whole")
    client = connect(project).client
    assert found.info.run_id == stage.run_id
    assert found.info.run_name == "whole · book"
    assert found.info.status == "FINISHED"
    assert found.data.params["pretrain.optimizer.lr"] == "0.0004"
    assert found.data.params["download_gpt2.sizes"] == '["124M"]'
    tags = found.data.tags
    assert {k: tags[k] for k in ("stage", "profile", "data", STATE, "pretrained", "converged")} == {
        "stage": "whole",
        "profile": "book",
        "data": "upstream",
        STATE: "abc",
        "pretrained": "synthetic",
        "converged": "true",
    }
    assert len([name for name in tags if not name.startswith("mlflow.")]) <= 8
    environment = json.loads((project / "mlartifacts" / stage.run_id / "artifacts/environment.json").read_text())
    assert environment["torch"].startswith("2.")
    assert (environment["state"], environment["pid"]) == ("abc", str(os.getpid()))
    assert "host" in environment and "python" in environment
    assert found.data.metrics["accuracy on test"] == 0.9
    assert found.data.metrics["peak_memory_mb"] > 5
    assert found.data.metrics["duration_seconds"] > 0
    assert found.data.metrics["mean_examples_per_second"] > 0

    loss = client.get_metric_history(stage.run_id, "loss/loss")
    assert 250 < len(loss) < 400
    assert (loss[0].step, loss[-1].step, loss[-1].value) == (0, 999, pytest.approx(3.002))
    assert len(client.get_metric_history(stage.run_id, "speed/examples_per_second")) == len(loss) - 2
    assert len(client.get_metric_history(stage.run_id, "loss/validation_loss")) == 10
    assert {file.path for file in client.list_artifacts(stage.run_id)} == {
        *("environment.json", "samples", "samples.json", "plots")
    }
    assert [found.data.metrics[name] for name in ("best_validation_loss", "best_step")] == [4.0, 100.0]
    table = json.loads((project / "mlartifacts" / stage.run_id / "artifacts/samples.json").read_text())
    assert table["data"] == [["a", "b"], ["c", "d"]]
    (used,) = found.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("the-verdict.txt", ("0123456789abcdef" * 4)[:36])
    assert json.loads(used.dataset.profile) == {"sha256": "0123456789abcdef" * 4}
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("broken"), "FAILED"),
        (SystemExit(1), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
        (SystemExit(0), "FINISHED"),
    ],
)
def test_a_run_says_how_it_ended(project, runs, error, status) -> None:
    stage = f"ended {error!r}".replace("'", "")
    with pytest.raises(type(error)), run.track_stage(project, stage, {"lr": 1}, "quick"):
        raise error
    (found,) = runs(stage)
    assert found.info.status == status
    assert found.info.end_time
    assert found.data.tags.get("error", "").startswith("" if status == "FINISHED" else type(error).__name__)
    assert ("error" in found.data.tags) is (status != "FINISHED")


def test_nothing_is_lost_when_the_tracking_goes_away_for_good(project, runs, pending, away, caplog, tmp_path) -> None:
    plot = tmp_path / "plot.svg"
    with caplog.at_level(logging.INFO):
        with run.track_stage(project, "lost", {"lr": 0.1}, "quick") as stage:
            away()
            for step in range(1200):
                stage.log(Record(step, "validation_loss", float(step), 1, step))
            stage.text("a sample", "sample.txt")
            plot.write_text("as it was")
            stage.artifact(plot)
            stage.tags({"late": "yes"})
        warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warnings) == 2
        assert "no route to host); the stage continues" in warnings[0]
        (kept,) = pending.glob("*.jsonl")
        assert f"kept in {kept}" in warnings[1]
        assert stage.run_id in kept.read_text()
        plot.write_text("as it is later")
        (before,) = runs("lost")
        assert before.info.status == "RUNNING"

        away(False)
        with run.track_stage(project, "lost-next", {}, "quick"):
            pass
    assert "delivered 1 runs" in caplog.text
    assert not list(pending.glob("*.jsonl"))
    (after,) = runs("lost")
    assert after.info.status == "FINISHED"
    assert after.data.tags["late"] == "yes"
    client = connect(project).client
    assert [p.value for p in client.get_metric_history(stage.run_id, "loss/validation_loss")] == list(range(1200))
    artifacts = project / "mlartifacts" / stage.run_id / "artifacts"
    assert (artifacts / "sample.txt").read_text() == "a sample"
    assert (artifacts / "plot.svg").read_text() == "as it was"


def test_a_run_that_could_not_even_be_created_is_made_later(project, runs, away) -> None:
    away()
    with run.track_stage(project, "unborn", {"lr": 0.1}, "quick") as stage:
        stage.metrics({"accuracy": 0.5})
    assert stage.run_id is None
    away(False)
    assert delivery.deliver_left(connect(project), project) == 1
    (found,) = runs("unborn")
    assert (found.info.status, found.data.metrics["accuracy"]) == ("FINISHED", 0.5)
    assert found.data.params == {"lr": "0.1"}
    assert found.data.metrics["duration_seconds"] < 60


def test_a_stage_goes_on_logging_when_the_tracking_is_back(project, runs, away, monkeypatch, caplog) -> None:
    monkeypatch.setattr(run, "RETRY_SECONDS", 0.0)
    with caplog.at_level(logging.INFO), run.track_stage(project, "back", {}, "quick") as stage:
        away()
        stage.metrics({"accuracy": 0.1}, 1)
        stage.metrics({"accuracy": 0.2}, 2)
        away(False)
        stage.metrics({"accuracy": 0.3}, 3)
        assert runs("back")[0].data.metrics["accuracy"] == 0.3
    assert caplog.text.count("cannot be written to") == 1
    assert "answers again" in caplog.text


def test_what_is_refused_does_not_block_the_rest(project, runs, caplog) -> None:
    with run.track_stage(project, "refused", {"lr": 1}, "quick") as stage:
        stage.table([{"a": 1}], "table.txt")  # MLflow wants .json
        stage.artifact(Path("gone.svg"))
        stage.metrics({"accuracy": 0.5})
    assert runs("refused")[0].data.metrics["accuracy"] == 0.5
    assert caplog.text.count("MLflow: dropped") == 2


def test_a_broken_file_store_keeps_no_figures_back(project, runs, monkeypatch, caplog) -> None:
    send = delivery._send_entry

    def broken(client, run, entry):
        if entry["kind"] == "text":
            raise ImportError("boto3 is missing")
        send(client, run, entry)

    monkeypatch.setattr(delivery, "_send_entry", broken)
    with run.track_stage(project, "files", {"lr": 1}, "quick") as stage:
        stage.text("a sample", "sample.txt")
        stage.metrics({"accuracy": 0.5})
    (found,) = runs("files")
    assert (found.info.status, found.data.metrics["accuracy"]) == ("FINISHED", 0.5)
    assert "boto3 is missing" in caplog.text
    monkeypatch.undo()
    assert delivery.deliver_left(connect(project), project) == 1
    assert [file.path for file in connect(project).client.list_artifacts(stage.run_id)] == [
        *("environment.json", "sample.txt")
    ]


def test_a_lock_that_cannot_be_had_does_not_stop_the_stage(project, runs, monkeypatch, caplog) -> None:
    def broken(_root):
        raise OSError("read-only file system")

    for module in (run, server):
        monkeypatch.setattr(module, "connect", broken)
    with run.track_stage(project, "readonly", {}, "quick") as stage:
        stage.metrics({"accuracy": 0.5})
    assert "read-only file system" in caplog.text
    monkeypatch.undo()
    assert delivery.deliver_left(connect(project), project) == 1
    assert runs("readonly")[0].data.metrics["accuracy"] == 0.5


def test_other_addresses_and_broken_files_stay(project, pending, caplog) -> None:
    pending.mkdir(exist_ok=True)
    other, broken = pending / "other.jsonl", pending / "broken.jsonl"
    stored({"uri": "http://127.0.0.1:1", "name": "elsewhere"}, project).rename(other)
    broken.write_text("{")
    assert delivery.deliver_left(connect(project), project) == 0
    assert other.exists() and broken.exists()
    assert f"could not deliver {broken}" in caplog.text
    other.unlink()
    broken.unlink()


def stored(header: dict, project: Path) -> Path:
    """Return the file of a run that is over, and wholly undelivered."""
    file = RunFile.create(project, {"start": 1, "tags": {}, "checkpoints": None, **header})
    file.append("end", status="FINISHED", time=2)
    file.close()
    return file.path


def test_the_runs_of_processes_that_are_gone_are_ended(project, runs) -> None:
    script = (
        "import os, pathlib, sys; from gpt_from_scratch.tracking.run import track_stage\n"
        "with track_stage(pathlib.Path(sys.argv[1]), 'shot', {}, 'quick'): os.kill(os.getpid(), 9)"
    )
    source = str(Path(run.__file__).parents[2])
    subprocess.run([sys.executable, "-c", script, str(project)], env={"PYTHONPATH": source}, check=False)
    assert not runs("shot")  # it was gone before MLflow was open
    with run.track_stage(project, "after", {}, "quick"):
        assert runs("after")[0].info.status == "RUNNING"
    assert runs("shot")[0].info.status == "KILLED"


def test_a_password_is_not_kept(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:1")
    stage = run.StageRun(tmp_path, "name", {}, {}, "tokens")
    assert stage._header["uri"] == "http://host:1"
    assert "secret" in tracking_uri(tmp_path)


def test_a_machine_that_cannot_be_looked_at_costs_nothing(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: 1 / 0)
    machine = system.Machine(tmp_path)
    assert machine.figures(100.0) == machine.figures(200.0, now=True) == {}


def test_a_person_finds_a_run_by_what_was_changed(project, runs, root, tmp_path, monkeypatch) -> None:
    for name in ("profiles", "dvc.yaml"):
        (project / name).symlink_to(root / name)
    values = load_params(root / "profiles/quick.yaml").model_dump(mode="json")
    usual = {"runtime": {"threads": 1}, "pretrain": values["pretrain"]}
    changed = {**values["pretrain"], "epochs": 1, "optimizer": {**values["pretrain"]["optimizer"], "lr": 3e-4}}
    with run.track_stage(project, "pretrain", usual, "quick"):
        pass
    monkeypatch.setenv("DVC_EXP_NAME", "tasty-dodo")
    with run.track_stage(project, "pretrain", usual | {"pretrain": changed}, "quick"):
        pass
    with run.track_stage(project, "pretrain", {}, "mine"):
        pass
    assert [one.data.tags.get("dvc_experiment") for one in runs("pretrain")] == ["tasty-dodo", "tasty-dodo", None]
    found = {one.info.run_name: one.data.tags["mlflow.note.content"] for one in runs("pretrain")}
    edited = "epochs=1, lr=0.0003 · pretrain · quick"
    assert set(found) == {"pretrain · quick", edited, "pretrain · mine"}
    described = "Pretrain a GPT from scratch on the text (chapter 5).\n\nParameters: the profile **quick**"
    assert found["pretrain · quick"].startswith(f"{described}, unchanged")
    assert found[edited].startswith(f"{described}, but for\n\n- `pretrain.epochs=1`\n- `pretrain.optimizer.lr=0.0003`")
    for name in ("profiles", "dvc.yaml"):
        (project / name).unlink()


@pytest.mark.parametrize(
    ("edited", "name"),
    [
        ([], "summary · quick"),
        (["pretrain.optimizer.lr=0.003", "classify.epochs=2"], "lr=0.003, epochs=2 · summary · quick"),
        (
            ["pretrain.epochs=1", "classify.epochs=2", "a.b=x=y"],
            "pretrain.epochs=1, classify.epochs=2, b=x=y · summary · quick",
        ),
        (["a.b.c=1", "a.d.c=2"], "a.b.c=1, a.d.c=2 · summary · quick"),
        ([f"a.k{n}={n}" for n in range(5)], "k0=0, k1=1, k2=2, 2 more · summary · quick"),
    ],
)
def test_a_name_says_the_change_first(edited, name) -> None:
    assert run_name("summary", "quick", edited) == name


@pytest.mark.usefixtures("in_background")
def test_work_does_not_wait_for_mlflow_and_all_of_it_arrives(project, runs, monkeypatch) -> None:
    opened, held = server.connect, Event()
    monkeypatch.setattr(server, "connect", lambda root: held.wait(60) and opened(root))
    with run.track_stage(project, "beside", {}, "quick") as stage:
        stage.metrics({"accuracy": 0.5})
        stage.artifact(project / "mlflow.db")
        assert not runs("beside")
        held.set()
    assert runs("beside")[0].data.metrics["accuracy"] == 0.5


def test_a_stage_may_leave_its_run_to_the_next_one(project, runs, pending) -> None:
    with run.track_stage(project, "left", {}, "quick", later=True) as stage:
        stage.metrics({"accuracy": 0.5})
    assert not runs("left")
    assert len(list(pending.glob("*.jsonl"))) == 1
    with run.track_stage(project, "next", {}, "quick"):
        pass
    (found,) = runs("left")
    assert (found.info.status, found.data.metrics["accuracy"]) == ("FINISHED", 0.5)
    assert found.info.end_time <= runs("next")[0].info.start_time
    with pytest.raises(ValueError, match="no"), run.track_stage(project, "failed", {}, "quick", later=True):
        raise ValueError("no")
    assert runs("failed")[0].info.status == "FAILED"


def test_the_experiment_says_what_it_is_and_a_users_own_words_stay(copied) -> None:
    project = copied("described")
    tracking = connect(project)
    assert 'kind = "summary"' in tracking.client.get_experiment(tracking.experiment_id).tags["mlflow.note.content"]
    tracking.client.set_experiment_tag(tracking.experiment_id, "mlflow.note.content", "mine")
    connect(project)
    assert tracking.client.get_experiment(tracking.experiment_id).tags["mlflow.note.content"] == "mine"
