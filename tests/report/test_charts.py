"""Charts: what they show, the same bytes every time, and the reading of the curves that they are drawn from."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.curves import parse_curve, read_curve, read_rows
from gpt_from_scratch.files.writing import write_csv
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.report.charts import classifier_charts, confusion_chart, line_chart, training_charts

ROWS = [{"step": step, "train_loss": 5.0 - step, "validation_loss": 5.5 - step / 2} for step in range(4)]
PAIRS = [("ham", "ham")] * 70 + [("ham", "spam")] * 2 + [("spam", "ham")] * 5 + [("spam", "spam")] * 67
LOSSES = {"train_loss": "training", "validation_loss": "validation"}


@pytest.mark.parametrize(
    ("make", "content"),
    [(line_chart, (ROWS, "step", LOSSES, "loss, nats per token")), (confusion_chart, (PAIRS,))],
)
def test_a_chart_is_the_same_png_every_time(tmp_path, make, content):
    paths = [tmp_path / "new" / name for name in ("a.png", "b.png")]
    for path in paths:
        make("title", *content).write_png(path)
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(b"\x89PNG")
    assert first == second
    assert b"Software" not in first  # matplotlib's version would change the bytes


def test_the_chart_shows_what_it_is_given():
    first, second = confusion_chart("title", PAIRS), confusion_chart("title", PAIRS[7:])
    assert first.source != second.source
    assert "70 of ham taken for ham" in first.text
    assert line_chart("Loss", ROWS, "step", LOSSES, "nats").text == (
        "Loss. training: from 5.000 to 2.000. validation: from 5.500 to 4.000."
    )


def test_a_chart_takes_any_labels():
    names = ["$a$", "1", "01", "x y", "ß"]
    pairs = [(actual, predicted) for actual in names for predicted in names]
    first, second = (confusion_chart("title", rows) for rows in (pairs, [*pairs, *[("1", "01")] * 30]))
    assert first.source != second.source
    assert b"$a$" in base64.b64decode(first.source.split(",")[1])


def test_the_charts_of_a_project_are_those_of_its_files(root, tmp_path):
    plots, params = root / "metrics" / "plots", load_params(root / "params.yaml")
    assert list(training_charts(plots, params)) == [
        "pretrain",
        "pretrain_lr",
        "perplexity",
        "finetune_classify",
        "finetune_classify_lr",
        "finetune_classify_accuracy",
        "finetune_instruct",
        "finetune_instruct_lr",
    ]
    assert list(classifier_charts(plots)) == ["confusion", "roc", "reliability"]
    assert training_charts(tmp_path, params) == classifier_charts(tmp_path) == {}


def test_every_chart_has_a_legend_and_units(root):
    plots, params = root / "metrics" / "plots", load_params(root / "params.yaml")
    charts = training_charts(plots, params) | classifier_charts(plots)
    legends = {
        "loss": ["training loss (5 batches)", "validation loss (5 batches)"],
        "perplexity": ["training perplexity (5 batches)", "validation perplexity (5 batches)"],
        "accuracy": ["training accuracy (5 batches)", "validation accuracy (5 batches)"],
        "learning rate": ["learning rate"],
        "Confusion matrix, test set": ["messages"],
        "ROC curve, test set": ["classifier", "chance"],
        "Reliability diagram, test set": ["classifier", "perfectly calibrated"],
    }
    for name, chart in charts.items():
        picture = ET.fromstring(base64.b64decode(chart.source.split(",")[1]))
        texts = [text for element in picture.findall(".//{*}text") if (text := "".join(element.itertext()).strip())]
        assert set(legends[chart.title.rpartition(": ")[2]]) <= set(texts), name
        unit = "nats per message" if name == "finetune_classify" else "nats per token"
        assert not chart.title.endswith(": loss") or f"loss, {unit}" in texts
        assert not chart.title.endswith(": accuracy") or "98.0 %" in texts


def test_the_loss_of_preferences_is_per_pair(root):
    params = load_params(root / "params.yaml")
    preferences = params.instruct.model_copy(update={"objective": "preferences"})
    params = params.model_copy(update={"instruct": preferences})
    chart = training_charts(root / "metrics" / "plots", params)["finetune_instruct"]
    assert b"loss, nats per pair" in base64.b64decode(chart.source.split(",")[1])


def test_a_curve_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "curve.csv"
    rows = [{"step": 0, "loss": 9.817, "other": None}, {"step": 5, "loss": 1e-7, "other": 0.5}]
    write_csv(path, rows)
    assert read_curve(path) == rows
    assert isinstance(read_curve(path)[1]["step"], int)
    assert read_rows(path)[0] == {"step": "0", "loss": "9.817", "other": ""}
    write_csv(path, read_curve(path))
    assert read_curve(path) == rows


def test_a_missing_or_damaged_curve_is_one_sentence(tmp_path):
    assert read_curve(tmp_path / "none.csv", optional=True) == []
    with pytest.raises(InputError, match=r"none\.csv: file not found"):
        read_curve(tmp_path / "none.csv")
    with pytest.raises(InputError, match="curve: loss: expected a number, found 'low'"):
        parse_curve("step,loss\n1,low\n", "curve")
