"""A real MLflow server that is stopped in the middle of a stage and started again afterwards."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tracking import server
from gpt_from_scratch.tracking.run import track_stage
from gpt_from_scratch.training.loop import Record


@pytest.mark.slow
def test_a_server_that_dies_costs_the_training_nothing(mlflow_server, tmp_path, monkeypatch, caplog) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.address)
    stop = mlflow_server()
    with caplog.at_level(logging.INFO):
        with track_stage(project, "pretrain", {"lr": 0.1}, "quick") as stage:
            stage.metrics({"loss/validation_loss": float("nan")}, 0)
            stage.artifact(Path(__file__))
            stop()
            began = time.monotonic()
            stage.artifact(Path(__file__), "again")  # sent at once, so the failure is met
            for step in range(1, 2001):
                stage.log(Record(step, "validation_loss", 1.0 / step, 1, step))
            stage.text("a sample", "samples/one.txt")
            stage.table([{"prompt": "a", "text": "b"}], "samples.json")
            stage.dataset("text", "data/raw/text.txt", "0" * 64, "training")
        lost = time.monotonic() - began
    assert lost < 12
    print(f"the training lost {lost:.1f} s")
    assert caplog.text.count("cannot be written to") == 1
    (kept,) = (project / ".mlflow-pending").glob("*.jsonl")
    assert stage.run_id in kept.read_text()

    with pytest.raises(InputError, match="found none"), track_stage(project, "evaluate", {}, "quick"):
        pass

    mlflow_server()
    with track_stage(project, "evaluate", {}, "quick"):
        pass
    assert not kept.exists()
    client = server.connect(project).client
    found = client.get_run(stage.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.artifact_uri.startswith("mlflow-artifacts:")
    assert found.inputs.dataset_inputs[0].dataset.name == "text"
    history = client.get_metric_history(stage.run_id, "loss/validation_loss")
    assert [point.step for point in history] == list(range(2001))
    artifacts = {file.path for file in client.list_artifacts(stage.run_id)}
    assert artifacts == {"again", "environment.json", "samples", "samples.json", Path(__file__).name}
    assert not list(project.glob("mlflow.db*"))
