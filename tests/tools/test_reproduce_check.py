"""Comparing two runs of the pipeline."""

from __future__ import annotations

import pytest
import yaml

from gpt_from_scratch.tools import reproduce_check

LOCK = {
    "stages": {
        "pretrain": {"deps": [{"path": "data/raw", "md5": "a"}], "outs": [{"path": "models/pretrain", "md5": "b"}]}
    }
}


def fake(folder, model="b", metric="{}"):
    (folder / "metrics/plots").mkdir(parents=True)
    lock = yaml.safe_load(yaml.safe_dump(LOCK))
    lock["stages"]["pretrain"]["outs"][0]["md5"] = model
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    (folder / "metrics/pretrain.json").write_text(metric)
    (folder / "metrics/plots/pretrain.csv").write_text("step\n1\n")
    return reproduce_check.results(folder)


def test_every_dep_out_and_metric_is_compared(tmp_path):
    assert set(fake(tmp_path)) == {
        "pretrain: data/raw",
        "pretrain: models/pretrain",
        "metrics/pretrain.json",
        "metrics/plots/pretrain.csv",
    }


@pytest.mark.parametrize(
    ("change", "different"),
    [
        ({}, []),
        ({"model": "c"}, ["pretrain: models/pretrain"]),
        ({"metric": "{ }"}, ["metrics/pretrain.json"]),
    ],
)
def test_what_differs_is_named(tmp_path, change, different):
    first, second = fake(tmp_path / "first"), fake(tmp_path / "second", **change)
    assert reproduce_check.differences(first, second) == different


def test_what_only_one_has_differs(tmp_path):
    first, second = fake(tmp_path / "first"), fake(tmp_path / "second")
    del second["metrics/pretrain.json"]
    assert reproduce_check.differences(first, second) == ["metrics/pretrain.json"]


def test_a_difference_is_an_error(root, monkeypatch, capsys):
    def repro(folder, *_):
        (folder / "dvc.lock").write_text(yaml.safe_dump(LOCK))
        (folder / "metrics").mkdir(exist_ok=True)
        (folder / "metrics/pretrain.json").write_text(str(folder))
        return 1.0

    if not (root / ".git").exists():
        pytest.skip("copying the project needs a git checkout")
    monkeypatch.setattr(reproduce_check, "repro", repro)
    assert reproduce_check.main(root) == 1
    assert "1 of 3 hashes differ" in capsys.readouterr().err


@pytest.mark.parametrize(("metric", "code"), [("{}", 0), ("{ }", 1)])
def test_the_project_itself_can_be_one_of_the_two(root, tmp_path, monkeypatch, capsys, metric, code):
    ran = []

    def copied(_, folder):
        (folder / "params.yaml").write_bytes((root / "profiles/quick.yaml").read_bytes())

    def repro(folder, *_):
        ran.append(folder)
        fake(folder, metric="{}" if folder == tmp_path else metric)
        return 1.0

    monkeypatch.setattr(reproduce_check, "copy_project", copied)
    monkeypatch.setattr(reproduce_check, "repro", repro)
    assert reproduce_check.main(tmp_path, here=True) == code
    assert len(set(ran)) == 2
    assert tmp_path in ran
    said = capsys.readouterr()
    assert "1 of 4 hashes differ" in said.err if code else "4 hashes are the same in both folders" in said.out


def test_the_copy_has_no_results(root, tmp_path):
    if not (root / ".git").exists():
        pytest.skip("copying the project needs a git checkout")
    reproduce_check.copy_project(root, tmp_path)
    assert (tmp_path / "params.yaml").read_bytes() == (root / "profiles/quick.yaml").read_bytes()
    assert (tmp_path / "stages/evaluate.py").is_file()
    for name in ("dvc.lock", "metrics", "mlflow.db", ".dvc/cache", "data/raw"):
        assert not (tmp_path / name).exists(), name
