"""A study over seeds: its variants, its table with the spread, and where the report shows it."""

from __future__ import annotations

import json

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import HEADLINES
from gpt_from_scratch.experiments import studies
from gpt_from_scratch.experiments.seeds import seed_rows, seeds_from, spreads, summary, with_seeds
from gpt_from_scratch.experiments.study import read_study
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.tracking import studies as tracking
from tests.params_file import set_params

STUDY = """\
kind: pipeline
title: Spread
source: none
about: About it.
stage: evaluate
compared: []
seeds: [pretrain.seed, classify.seed]
columns:
  train: {title: training loss, file: pretrain, key: final.train_loss, decimals: 3}
  accuracy: {title: accuracy, file: pretrain, key: final.accuracy, scale: 100, decimals: 1}
headline: train
"""


@pytest.fixture
def seeds(project, monkeypatch):
    """A project with the study, whose stand-in for `dvc` makes figures of the seeds."""
    (project / "experiments/seeds.yaml").write_text(STUDY)
    stand_in = project.parent / "stand_in/dvc/__main__.py"
    made = '"train_loss": 4 + params["classify"]["seed"] / 1000, "accuracy": (params["pretrain"]["seed"] - 100) / 100, '
    stand_in.write_text(stand_in.read_text().replace('"train_loss": 100 * lr, ', made))
    logged = []
    monkeypatch.setattr(tracking, "log_study", lambda *given: logged.append(given))
    monkeypatch.chdir(project)

    def run(number: int = 0, *changes: str) -> list[str]:
        studies.run(project, "seeds", (), None, changes, 0, lambda line: None, number)
        return studies.show(project, "seeds").splitlines()

    run.logged = logged
    return run


def test_one_seed_for_all_trainings_from_that_of_the_parameters_on(project, root):
    study = read_study(root, "seeds")
    seeds = seeds_from(study, load_params(project / "params.yaml"), 3)
    variants = with_seeds(study, seeds).variants
    assert [variant.name for variant in variants] == ["seed-123", "seed-124", "seed-125"]
    assert variants[1].params == {"pretrain.seed": 124, "classify.seed": 124, "instruct.seed": 124}
    assert {column.key.replace(".", "/") for column in study.columns.values()} >= set(HEADLINES)


def test_the_table_ends_with_the_spread_which_goes_to_mlflow(seeds, project):
    assert seeds(3)[-7:] == [
        "| seed 123 | 4.123 | 23.0 |",
        "| seed 124 | 4.124 | 24.0 |",
        "| seed 125 | 4.125 | 25.0 |",
        "| mean of 3 seeds | 4.124 | 24.0 |",
        "| standard deviation of 3 seeds | 0.001 | 1.0 |",
        "| lowest of 3 seeds | 4.123 | 23.0 |",
        "| highest of 3 seeds | 4.125 | 25.0 |",
    ]
    _, name, _, rows, figures, _ = seeds.logged[-1]
    assert (name, len(rows)) == ("seeds", 7)
    expected = {"train/deviation": 0.001, "accuracy/mean": 24.0, "accuracy/lowest": 23.0}
    assert {key: figures[key] for key in expected} == pytest.approx(expected)
    # Seeds of other settings or code are no part of the spread.
    assert "mean of 2 seeds" in "\n".join(found := seeds(2, "pretrain.epochs=1"))
    assert "| seed 125 [1] |" in "\n".join(found)
    assert found[-1] == "- [1] other settings"
    (project / "src/model.py").write_text("width = 2\n")
    study = read_study(project, "seeds")
    made = seed_rows(project, "seeds", study)
    assert all("the code has changed since" in row.marks for row in made)
    assert summary(study, made) == []


def test_the_report_knows_the_spread_of_its_own_run_alone(seeds, project):
    assert spreads(project) == {}
    seeds(2)
    assert spreads(project) == {}  # no results here
    final = {"train_loss": 4.123, "accuracy": 0.23}
    metrics = project / "metrics/pretrain.json"
    metrics.write_text(json.dumps({"final": final}))
    assert spreads(project) == {
        "final training loss": "4.123 ± 0.001, 2 seeds",
        "final accuracy": "23.5 ± 0.7 %, 2 seeds",
    }
    params = project / "params.yaml"
    before = params.read_text()
    set_params(params, {"pretrain.epochs": 77})
    assert spreads(project) == {}
    params.write_text(before)
    metrics.write_text(json.dumps({"final": {**final, "accuracy": 0.24}}))  # another run's figures
    assert spreads(project) == {}


def test_a_seed_that_all_variants_would_share_is_refused(seeds):
    with pytest.raises(InputError, match=r"--set classify\.seed: expected no seed, which seeds varies"):
        seeds(2, "classify.seed=5")


def test_other_studies_take_no_seeds(project):
    with pytest.raises(InputError, match="expected no --seeds"):
        studies.run(project, "tried", (), None, (), 0, print, 3)
