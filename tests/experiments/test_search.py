"""The search: Optuna proposes, experiments answer, and an interrupted search goes on as if it had not been."""

from __future__ import annotations

import json

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments import search as searching
from gpt_from_scratch.experiments.recorded import recorded
from gpt_from_scratch.experiments.study import read_study
from gpt_from_scratch.pipeline.git import git_output
from tests.params_file import set_params


@pytest.fixture
def go_on(project):
    def call(trials: int):
        study = read_study(project, "tried")
        return searching.search(project, "tried", study, trials, reduced=True, say=lambda line: None)

    return call


@pytest.fixture
def losses(project):
    """A function that returns what the stand-in wrote into each trial's metrics."""

    def read() -> dict[str, float]:
        names = [name for name in recorded(project) if "trial" in name]
        texts = {
            name: git_output(project, "show", f"{recorded(project)[name][0].commit}:metrics/pretrain.json")
            for name in names
        }
        return {name: json.loads(text)["final"]["validation_loss"] for name, text in texts.items()}

    return read


def test_the_best_of_all_trials_is_found_and_failed_ones_count(go_on, losses):
    found = go_on(7)
    assert found.trials + found.failed == 7
    assert found.failed >= 1  # weight decay 2 fails in the stand-in
    assert len(losses()) == found.trials
    assert found.value == pytest.approx(min(losses().values()))
    assert losses()[found.experiment] == pytest.approx(found.value)
    assert found.command == f"dvc exp apply {found.experiment}"
    lr, decay = found.params["pretrain.optimizer.lr"], found.params["pretrain.optimizer.weight_decay"]
    assert found.value == pytest.approx(5 + 100 * lr + decay, rel=1e-6)
    assert searching.adopted(found.params).startswith("dvc exp run -S pretrain.optimizer.lr=")


def test_a_search_goes_on_and_runs_nothing_twice(go_on, losses, asked, project):
    go_on(3)
    first = losses()
    asked()
    go_on(3)
    assert asked() == []
    go_on(4)
    assert len(asked()) == 1
    assert first.items() <= losses().items()


def test_after_an_interruption_the_same_trials_follow(go_on, losses, project, monkeypatch):
    go_on(3)
    straight = losses()
    for same in recorded(project).values():
        same[0].remove()
    (project / searching.STORE).unlink()
    run_one, count = searching.run_one, []

    def interrupted(*arguments):
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        return run_one(*arguments)

    monkeypatch.setattr(searching, "run_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go_on(3)
    go_on(3)
    assert losses() == straight


def test_other_code_or_parameters_make_another_search(go_on, asked, project):
    go_on(1)
    asked()
    set_params(project / "params.yaml", {"pretrain.stride": 32})
    go_on(1)
    assert len(asked()) == 1


def test_a_study_without_a_space_is_refused(project):
    path = project / "experiments/tried.yaml"
    path.write_text(path.read_text().partition("space:")[0])
    with pytest.raises(InputError, match="space"):
        searching.search(project, "tried", read_study(project, "tried"), 1, reduced=True)
