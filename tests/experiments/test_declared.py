"""The studies in experiments/: valid, over parameters that exist, with figures that can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.experiments.settings import changes_of, merged, override, raw_params, read_change
from gpt_from_scratch.experiments.studies import overview
from gpt_from_scratch.experiments.study import PipelineStudy, read_study, study_names

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = [name for name in study_names(ROOT) if isinstance(read_study(ROOT, name), PipelineStudy)]


def test_the_studies_of_the_companion_are_there():
    assert {"classification", "instructions", "schedule", "search"} <= set(PIPELINE)
    assert {"attention", "kv-cache", "speed"} <= set(study_names(ROOT)) - set(PIPELINE)


@pytest.mark.parametrize("name", PIPELINE)
@pytest.mark.parametrize(("profile", "reduced"), [("quick", True), ("book", False)])
def test_every_variant_is_valid_over_the_profile_it_is_for(name, profile, reduced):
    study, base = read_study(ROOT, name), raw_params(ROOT / f"profiles/{profile}.yaml")
    wrong = []
    for variant in (*study.variants, *(() if reduced else study.further)):
        try:
            merged(base, changes_of(study, variant, reduced), variant.name)
        except InputError as error:
            wrong.append(str(error))
    assert wrong == []
    known = {key for section in base.values() if isinstance(section, dict) for key in section}
    assert {key.split(".")[1] for key in (*study.indifferent, *study.ways, *study.same)} <= known
    if study.grid:
        axes = (study.reduced_grid if reduced and study.reduced_grid else study.grid).axes
        for number in range(max(map(len, axes.values()))):
            merged(base, {key: values[number % len(values)] for key, values in axes.items()}, name)


def test_the_nineteen_rows():
    rows = read_study(ROOT, "classification").variants
    assert [row.row for row in rows] == [str(number) for number in range(1, 20)]
    # 149 messages validate and 300 test: every accuracy is a whole number of them, but for the one that is marked.
    odd = {
        row.row
        for row in rows
        for column, messages in (("validation", 149), ("test", 300))
        if abs(round(row.published[column] * messages / 100) / messages * 100 - row.published[column]) > 0.006
    }
    assert odd == {"8"}
    assert "99.81 %" in rows[7].note


def test_lora_rows_have_the_companions_strength():
    """The companion multiplies with alpha alone, ours with alpha / rank."""
    rows = {row.row: row.params for row in read_study(ROOT, "classification").variants}
    for row, alpha in (("11", 16), ("12", 8)):
        assert rows[row]["classify.lora.alpha"] / rows[row]["classify.lora.rank"] == alpha


def test_the_companions_grid_has_as_many_combinations_as_it_counts():
    assert len(read_study(ROOT, "search").grid.variants()) == 4 * 3 * 3 * 3 * 4 * 2 * 3 * 5


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (0.00005, "5e-05"), ("gpt2/124M", "gpt2/124M"), ([1, "a"], "[1,a]")],
)
def test_an_override_is_read_by_dvc_as_the_value_it_was(tmp_path, value, text):
    from dvc.utils.hydra import apply_overrides

    assert override("a.b", value) == f"a.b={text}"
    path = tmp_path / "params.yaml"
    path.write_text("a:\n  b: 1\n")
    for one in (value, "null", "3", "it's, {odd}: yes"):
        apply_overrides(path, [override("a.b", one)])
        found = raw_params(path)["a"]["b"]
        assert (float(found) if isinstance(one, float) else found) == one


@pytest.mark.parametrize(
    ("replaced", "by", "complaint"),
    [
        ("kind: pipeline", "kind: other", "kind"),
        ("name: broken", "name: plain", "plain stands there twice"),
        ("headline: validation", "headline: loss", "expected a column, found loss"),
        ("published: {validation: 5.5}", "published: {test: 5.5}", "test is no column"),
        ("title: plain", "titel: plain", "variants.0.title"),
        ("pretrain.optimizer.lr: 0.01", "lr: 0.01", "variants.2.params"),
    ],
)
def test_a_faulty_study_is_refused_in_one_line(project, replaced, by, complaint):
    path = project / "experiments/tried.yaml"
    assert replaced in path.read_text()
    path.write_text(path.read_text().replace(replaced, by, 1))
    with pytest.raises(InputError, match=r"tried\.yaml: ") as error:
        read_study(project, "tried")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_faulty_study_does_not_hide_the_others(project):
    (project / "experiments/a.yaml").write_text("kind: pipeline\n")
    lines = list(overview(project))
    assert lines[0].startswith("a: not valid: ")
    assert "a.yaml: title: " in lines[0]
    assert lines[1].startswith("tried: ")


def test_an_unknown_study_is_refused_with_the_known_ones(project):
    with pytest.raises(InputError, match=r"tried.*'tired'"):
        read_study(project, "tired")


def test_changes_on_the_command_line():
    assert read_change("a.b=0.5") == ("a.b", 0.5)
    assert read_change("a.b=null") == ("a.b", None)
    with pytest.raises(InputError, match="KEY=VALUE"):
        read_change("a.b")


def test_all_that_a_study_lacks_is_told_at_once(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/mine.yaml").write_text("kind: pipeline\ntitle: mine\nsource: me\nabout: it\n")
    with pytest.raises(InputError, match=r"mine\.yaml: stage: .*; compared: .*; columns: .*; headline: "):
        read_study(tmp_path, "mine")
