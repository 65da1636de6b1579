"""The benchmarks' harness, on benchmarks made for this test."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as harness
from benchmarks.row import Row
from benchmarks.table import missed, seconds, table

FAKES = {
    "sound": """
def rows():
    yield Row("adding", 1.0, {"slow 1.0": 3.0, "other": 2.5}, "sums equal", at_least=2.0, bound=0.5)
    yield Row("subtracting", 1.0, {"slow 1.0": 3.0}, "differences equal", at_least=4.0, figures={"bytes": 7})
""",
    "wrong": """
def rows():
    yield Row("before", 1.0, {}, "nothing")
    raise AssertionError("losses differ by 0.1")
""",
    "absent": """
import no_such_library
def rows():
    yield from ()
""",
}


@pytest.fixture
def run(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "fakes").mkdir()
    for name, code in FAKES.items():
        (tmp_path / "fakes" / f"{name}.py").write_text(f"from benchmarks.row import Row\n{code}")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}:{root / 'src'}")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "results" / "fake.json"

    def run(*names: str):
        code = harness.main(["--out", str(out), "--only", *names], package="fakes")
        return code, json.loads(out.read_text())

    return run


def test_a_missed_aim_is_named_and_no_failure(run, capsys):
    code, results = run("sound")
    assert code == 0
    assert [row["ratio"] for row in results["rows"]] == [2.5, 3.0]
    assert {"processor", "threads", "torch"} <= results["machine"].keys()
    printed = capsys.readouterr().out
    line = "| adding | 1 s | slow 1.0: 3 s (3.00 ×); other: 2.5 s (2.50 ×) | ≥ 2 × | yes | 500 ms | 50% |"
    assert line in printed
    assert "not reached: subtracting: ≥ 4 × asked, found 3.00 ×" in printed
    assert "- subtracting: differences equal (bytes 7)" in printed
    assert "adding: ≥" not in printed


def test_disagreement_fails_and_the_other_benchmarks_still_run(run, capsys):
    code, results = run("wrong", "absent", "sound")
    assert code == 1
    assert (results["failed"], results["left_out"]) == (["wrong"], ["absent"])
    assert [row["work"] for row in results["rows"]] == ["before", "adding", "subtracting"]
    printed = capsys.readouterr().out
    assert "failed: wrong" in printed
    assert "left out: absent" in printed


def test_an_aim_in_seconds():
    fast, slow = (Row("decoding", time, {}, "same tokens", at_most=0.5) for time in (0.4, 0.6))
    assert missed([fast, slow]) == ["decoding: ≤ 500 ms asked, found 600 ms"]
    assert "| decoding | 600 ms |  | ≤ 500 ms | no: 600 ms |  |  |" in table([fast, slow])


@pytest.mark.parametrize(
    ("value", "shown"), [(0.000123, "123 µs"), (0.0456, "45.6 ms"), (2.0, "2 s"), (4321.0, "4321 s")]
)
def test_times_are_readable(value, shown):
    assert seconds(value) == shown


@pytest.mark.slow
def test_the_results_become_a_run_in_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    from benchmarks.track import track

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    row = {"work": "adding × 2", "ours": 1.0, "peers": {"slow": 3.0}, "agreement": "equal", "ratio": 3.0}
    row |= {"at_least": 2.0, "bound": None, "figures": {"bytes": 7.0}, "at_most": None}
    results = {"date": "today", "machine": {"cores": 2}, "rows": [row]}
    path = tmp_path / "cpu.json"
    path.write_text(json.dumps(results))
    run = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(track(path, tmp_path))
    assert run.data.tags["kind"] == "benchmark"
    assert run.data.params["cores"] == "2"
    assert run.data.metrics["adding _ 2/ratio"] == 3.0
    assert run.data.metrics["adding _ 2/seconds of slow"] == 3.0
    assert run.info.status == "FINISHED"


def test_without_mlflow_it_says_so(tmp_path, monkeypatch, capsys):
    from benchmarks import track

    monkeypatch.setattr(track.importlib.util, "find_spec", lambda name: None)
    assert track.track(tmp_path / "absent.json") is None
    assert capsys.readouterr().out == f"no run in MLflow: mlflow and pydantic not installed in {sys.prefix}\n"
