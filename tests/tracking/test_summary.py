"""One row per state of the pipeline."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import write_csv, write_json
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.tracking import delivery, summary
from gpt_from_scratch.tracking.facts import PIPELINE_STATE
from gpt_from_scratch.tracking.server import connect

EVALUATION = {
    "language_model": {"validation_loss": 6.1, "perplexity": 445.9, "curve": [1, 2]},
    "classifier": {"test": {"accuracy": 0.95, "f1": 0.9}, "calibrated": True},
    "data": "sample",
    "pretrained": "synthetic",
}


@pytest.fixture
def pipeline(copied, root) -> Path:
    folder = copied("pipeline")
    (folder / "params.yaml").write_text((root / "profiles/book.yaml").read_text())
    write_json(folder / "metrics/evaluation.json", EVALUATION)
    write_json(folder / "metrics/responses.json", [])
    write_json(folder / "metrics/samples/evaluate.json", [])
    write_csv(
        folder / "metrics/plots/pretrain.csv", [{"step": 0, "train_loss": 7.0, "validation_loss": 7.1, "lr": 0.1}]
    )
    return folder


@pytest.fixture
def found(pipeline) -> Callable[[], list[Any]]:
    def find() -> list[Any]:
        tracking = connect(pipeline)
        return tracking.client.search_runs([tracking.experiment_id], "tags.kind = 'summary'")

    return find


def test_a_state_is_written_once_and_another_beside_it(pipeline, found) -> None:
    run_id = summary.write_summary(pipeline)
    (first,) = found()
    assert first.info.run_id == run_id
    assert first.info.status == "FINISHED"
    assert first.data.metrics == {
        "language_model/validation_loss": 6.1,
        "language_model/perplexity": 445.9,
        "classifier/test/accuracy": 0.95,
        "classifier/test/f1": 0.9,
    }
    attached = {file.path for file in connect(pipeline).client.list_artifacts(run_id)}
    assert attached == {"environment.json", "plots", "responses.json", "samples"}
    assert first.data.params["pretrain.optimizer.lr"] == "0.0004"
    assert (first.data.tags["data"], first.data.tags["pretrained"]) == ("sample", "synthetic")
    assert first.data.tags["classifier/calibrated"] == "true"
    assert first.data.tags["profile"] == "book"

    (pipeline / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    params = pipeline / "params.yaml"
    params.write_text("# a comment is no change\n" + params.read_text().replace("lr: 0.0004", "lr: 4e-4"))
    assert summary.write_summary(pipeline) is None
    assert len(found()) == 1

    params.write_text(params.read_text().replace("lr: 4e-4", "lr: 3e-4"))
    assert summary.write_summary(pipeline) is not None
    write_json(pipeline / "metrics/evaluation.json", EVALUATION | {"data": "upstream"})
    assert summary.write_summary(pipeline) is not None
    assert sorted(run.data.params["pretrain.optimizer.lr"] for run in found()) == ["0.0003", "0.0003", "0.0004"]


def test_the_report_goes_into_the_run_of_its_state(pipeline, found, tmp_path, caplog) -> None:
    report = tmp_path / "report.html"
    report.write_text("first")
    summary.attach_report(pipeline, report)  # no run yet, and no error
    summary.write_summary(pipeline)
    summary.attach_report(pipeline, report)
    report.write_text("second")
    summary.attach_report(pipeline, report)
    (run,) = found()
    client = connect(pipeline).client
    assert "report.html" in [file.path for file in client.list_artifacts(run.info.run_id)]
    assert Path(client.download_artifacts(run.info.run_id, "report.html")).read_text() == "second"
    report.unlink()
    summary.attach_report(pipeline, report)
    assert "could not be put into the summary run" in caplog.text


def test_without_an_evaluation_there_is_nothing_to_say(tmp_path) -> None:
    assert summary.write_summary(tmp_path) is None


def test_metrics_of_other_params_are_not_summarised(pipeline, found, monkeypatch, caplog) -> None:
    def lock(**stages: Any) -> None:
        (pipeline / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))

    own = load_params(pipeline / "params.yaml").classify
    classify = {"classify.optimizer": own.optimizer.model_dump(mode="json"), "classify.epochs": own.epochs}
    model = {"path": "models/classifier", "md5": "1"}
    up_to_date = {"params": {"params.yaml": classify}, "outs": [model]}
    lock(finetune_classify=up_to_date, evaluate={"deps": [model | {"md5": "2"}]})
    assert summary.write_summary(pipeline) is None
    assert "the stage evaluate last ran with another models/classifier" in caplog.text

    stale = {"params": {"params.yaml": classify | {"classify.epochs": own.epochs - 1}}}
    lock(finetune_classify=stale)
    assert summary.write_summary(pipeline) is None
    assert "classify.epochs in params.yaml is not what the stage finetune_classify last ran with" in caplog.text
    assert found() == []

    # While evaluate itself runs, its entry is the last run's.
    monkeypatch.setenv("DVC_STAGE", "evaluate")
    lock(finetune_classify=up_to_date, evaluate={"deps": [model | {"md5": "2"}]})
    assert summary.write_summary(pipeline) is not None


def test_an_incomplete_summary_is_completed(pipeline, found, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(summary, "connect", lambda root: 1 / 0)
        assert summary.write_summary(pipeline) is None
    send = delivery._send_entry

    def broken(client, run, entry):
        assert entry["kind"] != "tags"
        send(client, run, entry)

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "_send_entry", broken)
        assert summary.write_summary(pipeline) is None
    assert found()[0].info.status == "RUNNING"
    summary.write_summary(pipeline)
    (run,) = found()
    assert (run.info.status, run.data.metrics["classifier/test/f1"]) == ("FINISHED", 0.9)
    assert PIPELINE_STATE in run.data.tags
    assert not list((pipeline / ".mlflow-pending").iterdir())


def test_a_server_that_is_away_costs_only_the_summary(pipeline, monkeypatch, caplog) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert summary.write_summary(pipeline) is None
    assert "no summary could be written" in caplog.text


def test_bad_metrics_are_named(pipeline) -> None:
    (pipeline / "metrics/evaluation.json").write_text("{")
    with pytest.raises(InputError, match=r"evaluation\.json, line 1"):
        summary.write_summary(pipeline)


def test_every_figure_is_in_it(pipeline, found) -> None:
    many = {"deep": {f"x{i}": i for i in range(1500)}, "near": 1.0}
    write_json(pipeline / "metrics/evaluation.json", EVALUATION | many)
    summary.write_summary(pipeline)
    (run,) = found()
    assert len(run.data.metrics) == 1505
    assert run.data.metrics["deep/x1499"] == 1499


def test_the_command(pipeline, found) -> None:
    (pipeline / "dvc.yaml").write_text("stages: {}\n")
    source = str(Path(summary.__file__).parents[2])
    command = [sys.executable, "-c", "from gpt_from_scratch.cli import app; app()", "summary"]
    done = subprocess.run(command, cwd=pipeline, env={"PYTHONPATH": source}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "this state of the pipeline is the summary run" in done.stdout
    assert len(found()) == 1
    (pipeline / "params.yaml").unlink()
    done = subprocess.run(command, cwd=pipeline, env={"PYTHONPATH": source}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
