"""What MLflow knows of experiments: times by parameters, and each table once."""

from __future__ import annotations

import time

import pytest

from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.tracking.run import track_stage
from gpt_from_scratch.tracking.server import connect
from gpt_from_scratch.tracking.studies import log_study, stage_seconds


@pytest.fixture
def stage_run(project):
    """Log a stage's run as a stage does, with a duration and the experiment's name."""

    def log(stage: str, params: Params, seconds: float, experiment: str = "", status: str = "FINISHED") -> None:
        run = track_stage(project, stage, {"pretrain": params.model_dump(mode="json")["pretrain"]}, "quick")
        with run:
            pass
        tracking = connect(project)
        client, now = tracking.client, int(time.time() * 1000)
        client.log_metric(run.run_id, "duration_seconds", seconds, now + 1)
        client.set_tag(run.run_id, "dvc_experiment", experiment)
        client.set_terminated(run.run_id, status, now)

    return log


def test_the_time_is_that_of_the_newest_run_with_the_same_parameters(stage_run, project, root):
    quick = load_params(root / "profiles/quick.yaml")
    other = quick.model_copy(update={"pretrain": quick.pretrain.model_copy(update={"epochs": 1})})
    elsewhere = quick.model_copy(update={"classify": quick.classify.model_copy(update={"epochs": 1})})
    stage_run("timed", quick, 10.0, "study-a")
    stage_run("timed", quick, 20.0)
    stage_run("timed", quick, 30.0, status="FAILED")
    stage_run("timed", other, 40.0)
    found = stage_seconds(project, "timed", {"study-a": quick, "study-b": elsewhere, "study-c": other})
    assert found == {"study-a": 10.0, "study-b": 20.0, "study-c": 40.0}
    book = load_params(root / "profiles/book.yaml")
    assert stage_seconds(project, "timed", {"study-d": book}) == {}


def test_a_table_is_logged_once(project):
    rows = [{"variant": "a", "test (ours)": 1.5}, {"variant": "b", "not comparable": "other data"}]
    run_id = log_study(project, "tried", "| a |", rows, {"a": 1.5}, "quick")
    assert log_study(project, "tried", "| a |", rows, {"a": 1.5}, "quick") is None
    assert log_study(project, "tried", "| b |", rows, {"a": 1.5}, "quick") not in (None, run_id)
    client = connect(project).client
    run = client.get_run(run_id)
    assert (run.data.tags["kind"], run.data.tags["study"], run.info.status) == ("experiments", "tried", "FINISHED")
    assert run.data.metrics["a"] == 1.5
    assert {file.path for file in client.list_artifacts(run_id)} == {"environment.json", "table.txt", "table.json"}
    assert open(client.download_artifacts(run_id, "table.txt"), encoding="utf-8").read() == "| a |"  # noqa: SIM115, PTH123
