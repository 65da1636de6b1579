"""A study's table: ours beside the published figures, and the reasons where they cannot be compared."""

from __future__ import annotations

import subprocess

import pytest

from gpt_from_scratch.experiments.runner import run_study
from gpt_from_scratch.experiments.study import Column, Variant, read_study
from gpt_from_scratch.experiments.table import Row, rows, table
from gpt_from_scratch.params.sections import load_params


def test_ours_the_published_and_their_difference():
    columns = {"test": Column(title="test, %", file="f", key="k"), "minutes": Column(title="minutes")}
    made = table(
        columns,
        [
            Row(
                Variant(name="a", title="A", row="1", published={"test": 95.0, "minutes": 0.28}),
                {"test": 97.25, "minutes": 4.0},
                ["other data: sample", "reduced setting"],
            ),
            Row(Variant(name="b", title="B | C", row="2", note="odd"), {}, ["reduced setting"]),
        ],
    )
    assert made.splitlines()[2:] == [
        "| row | variant | test, % | minutes |",
        "| --- | --- | --- | --- |",
        "| 1 | A [1] | 97.25 / 95.00 (+2.25) | 4.00 / 0.28 |",
        "| 2 | B &#124; C [2] [3] | – | – |",
        "",
        "- [1] other data: sample; reduced setting",
        "- [2] reduced setting",
        "- [3] odd",
    ]


@pytest.fixture
def made(project):
    def call(reduced: bool = True, profile: str = "quick", **changes):
        (project / "params.yaml").write_text((project / f"profiles/{profile}.yaml").read_text())
        study = read_study(project, "tried")
        run_study(project, "tried", study, reduced=reduced, changes=changes.get("changes"), say=lambda line: None)
        return {row.variant.name: row for row in rows(project, "tried", study)}

    return call


def test_figures_come_from_the_experiments(made):
    found = made()
    # What the stand-in makes of the learning rates 0.006 and 0.01, with weight decay 0.1.
    assert found["plain"].ours == pytest.approx({"train": 0.6, "validation": 5.7})
    assert found["fast"].ours == pytest.approx({"train": 1.0, "validation": 6.1})
    assert found["fast"].marks == ["reduced setting", "other data: sample", "settings of the profile quick"]
    assert found["broken"].marks == ["not run yet"]
    assert found["large"].marks[0].startswith("not run: needs 355M")
    assert found["plain"].params.pretrain.epochs == 1


def test_the_most_comparable_experiment_is_shown(made):
    made()
    assert made(reduced=False)["fast"].experiment == "tried-fast"
    assert made(reduced=False)["fast"].marks == ["other data: sample", "settings of the profile quick"]


def test_over_the_profile_book_only_what_differs_is_named(made, project):
    found = made(reduced=False, profile="book", changes={"pretrain.batch_size": 4})
    assert found["plain"].marks == ["other data: sample", "other settings: pretrain.batch_size 4"]
    path = project / "experiments/tried.yaml"
    path.write_text(
        path.read_text().replace("compared: [pretrain]", "compared: [pretrain]\nindifferent: [pretrain.batch_size]")
    )
    study = read_study(project, "tried")
    assert rows(project, "tried", study)[0].marks == ["other data: sample"]


def test_results_of_other_code_say_so(made, project):
    made()
    (project / "src/model.py").write_text("width = 3\n")
    found = {row.variant.name: row for row in rows(project, "tried", read_study(project, "tried"))}
    assert found["plain"].marks[-1] == "the code has changed since"


def test_results_survive_a_later_commit(made, project):
    made()
    (project / "docs/a.md").write_text("a\n")
    for command in (["add", "."], ["commit", "--quiet", "-m", "docs"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    found = rows(project, "tried", read_study(project, "tried"))[0]
    assert found.experiment == "tried-plain-reduced"
    assert "the code has changed since" not in found.marks
    assert load_params(project / "params.yaml").pretrain.optimizer.lr * 100 == pytest.approx(found.ours["train"])
