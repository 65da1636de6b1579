"""What a pull request shows."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.report.comparison import comparison
from tests.params_file import set_params


@pytest.fixture
def project(root, tmp_path, monkeypatch):
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "metrics", tmp_path / "metrics")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "add", "."],
        ["git", *identity, "commit", "-qm", "before"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=os.environ)
    return tmp_path


def test_it_names_what_differs_and_draws_both_curves(project) -> None:
    with pytest.raises(InputError, match="expected a commit that git knows, found 'nowhere'"):
        comparison(project, "nowhere")
    params = project / "params.yaml"
    set_params(params, {"pretrain.optimizer.lr": 0.75})
    metrics = project / "metrics/pretrain.json"
    metrics.write_text(re.sub(r'("validation_loss": )\d+\.\d+', r"\g<1>3.5", metrics.read_text(), count=1))
    plot = project / "metrics/plots/pretrain.csv"
    lines = plot.read_text().splitlines()
    plot.write_text("\n".join([*lines[:-1], lines[-1].rpartition(",")[0] + ",1.25"]) + "\n")
    text = comparison(project, "HEAD")
    assert re.search(r"pretrain\.json +\| \w+\.validation_loss +\| [\d.]+ +\| 3\.5 ", text)
    assert re.search(r"pretrain\.optimizer\.lr +\| 0\.\d+ +\| 0\.75 ", text)
    (chart,) = re.findall(r"```mermaid\n(.*?)\n```", text, re.S)
    before, now = re.findall(r"line \[(.*?)\]", chart)
    assert before != now
    assert now.endswith(", 1.25")
    assert len(now.split(", ")) == len(lines) - 1
    assert before.split(", ")[0] == now.split(", ")[0] == f"{float(lines[1].rpartition(',')[2]):.4g}"


def test_curves_of_other_steps_are_drawn_apart_at_their_own(project) -> None:
    plot = project / "metrics/plots/pretrain.csv"
    lines = plot.read_text().splitlines()
    plot.write_text("\n".join(lines[: len(lines) // 2]) + "\n")  # an interrupted, or a shorter training
    text = comparison(project, "HEAD")
    before, now = re.findall(r"(blue|orange): (.*?)\n\n```mermaid\n(.*?)\n```", text, re.S)
    columns = lines[0].split(",")
    for (colour, name, chart), number in ((before, len(lines)), (now, len(lines) // 2)):
        assert (colour, name) == (("blue", "`HEAD`") if number == len(lines) else ("orange", "now"))
        rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:number]]
        assert re.search(r"x-axis .*\[(.*)\]", chart)[1].split(", ") == [row["step"] for row in rows]
        values = [f"{float(row['validation_loss']):.4g}" for row in rows]
        assert re.search(r"line \[(.*)\]", chart)[1].split(", ") == values


def test_two_classifiers_are_compared_in_pairs(project, monkeypatch) -> None:
    monkeypatch.setattr("gpt_from_scratch.report.comparison.dvc_output", lambda *_: "")  # seconds
    path = project / "metrics/plots/confusion.csv"
    lines = path.read_text().splitlines()
    wrong = [number for number, line in enumerate(lines) if number and len(set(line.split(","))) == 2]
    for number in wrong[:6]:  # right instead of wrong
        lines[number] = ",".join([lines[number].split(",")[0]] * 2)
    path.write_text("\n".join(lines) + "\n")
    text = comparison(project, "HEAD")
    accuracies = "99.3 % (95 % interval 96.2–99.9 %), in `HEAD` 95.1 % (95 % interval 90.3–97.6 %)"
    assert f"Test accuracy {accuracies}: the difference is beyond noise" in text
    assert "(McNemar's exact test: p = 0.031; of 144 items, 6 only now right, 0 only before)." in text
    measured = project / "metrics/tables/models.json"
    measured.write_text(re.sub(r'("test_set": )"', r'\g<1>"other', measured.read_text()))
    assert "No paired test: by `metrics/tables/models.json` the test sets" in comparison(project, "HEAD")


def test_two_instruction_models_are_compared_in_pairs(project, monkeypatch) -> None:
    monkeypatch.setattr("gpt_from_scratch.report.comparison.dvc_output", lambda *_: "")  # seconds
    path = project / "metrics/responses.json"
    rows = json.loads(path.read_text())
    for row in rows[:7]:
        row["model_response"] = row["output"].upper()
    path.write_text(json.dumps([{**row, "scores": {"judge": 50}} for row in rows]))
    section = comparison(project, "HEAD").partition("### Answers to instructions\n\n")[2]
    rouge, loose = section.split("\n\n")[:2]
    before = json.loads((project / "metrics/evaluation.json").read_text())["instructions"]
    assert re.match(rf"ROUGE-L 0\.\d{{3}}, in `HEAD` {before['rouge_l']:.3f}: the difference is beyond noise", rouge)
    assert rouge.endswith(f"(paired sign-flip test: p = 0.016; {len(rows)} answers).")
    assert loose.startswith("Loose match 16.7 % (95 % interval 8.3–30.6 %), in `HEAD` 0.0 %")
    assert loose.endswith("(McNemar's exact test: p = 0.016; of 42 items, 7 only now right, 0 only before).")
    rows[0]["output"] += "!"
    path.write_text(json.dumps(rows))
    assert "by `metrics/responses.json` the test entries are not the same" in comparison(project, "HEAD")


def test_no_differences_are_said_in_one_line(project) -> None:
    assert comparison(project, "HEAD") == "No differences: metrics, parameters and curves are those of `HEAD`.\n"
