"""The report shows what the files say, whole and inert."""

import base64
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpt_from_scratch.cli import app
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figure_text, figures
from gpt_from_scratch.experiments.published import published_rows
from gpt_from_scratch.files.writing import write_json
from gpt_from_scratch.report.changes import metric_changes
from gpt_from_scratch.report.page import write_report

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def project(root, tmp_path) -> Path:
    for name in ("dvc.yaml", "params.yaml", "requirements.lock"):
        shutil.copy(root / name, tmp_path)
    for name in ("metrics", "experiments", "profiles"):
        shutil.copytree(root / name, tmp_path / name)
    return tmp_path


def rendered(project: Path) -> str:
    write_report(project, project / "report.html")
    return (project / "report.html").read_text(encoding="utf-8")


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_it_shows_every_figure_answer_and_sample(project) -> None:
    page = Page(rendered(project))
    evaluation = json.loads((project / "metrics/evaluation.json").read_text())
    for name, value in figures(evaluation).items():
        assert figure_text(value, name) in page.text, name
    published = published_rows(project)
    assert len(published) > 40
    for row in published:
        assert row["figure"] in page.text
        assert row["note"] in page.text
    for entry in json.loads((project / "metrics/responses.json").read_text()):
        assert " ".join(entry["model_response"].split()) in page.text
    for file in (project / "metrics/samples").glob("*.json"):
        for row in json.loads(file.read_text()):
            assert " ".join(row["text"].split()) in page.text
    titles = [dict(attrs)["alt"] for tag, attrs in page.elements if tag == "img"]
    for kind in ("Pretraining: loss", "learning rate", "Classifier: accuracy", "Confusion matrix", "ROC curve"):
        assert any(kind in title for title in titles), kind
    assert "profile: quick" in page.text


def test_it_needs_nothing_from_elsewhere(project) -> None:
    page = Page(rendered(project))
    addresses = [v for _, attrs in page.elements for k, v in attrs.items() if k in ("src", "href", "srcset", "action")]
    assert addresses
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses)
    anchors = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert {a[1:] for a in addresses if a.startswith("#")} <= anchors
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "form"}


def test_pictures_are_well_formed_and_described(project) -> None:
    for tag, attrs in Page(rendered(project)).elements:
        if tag == "img":
            picture = ET.fromstring(base64.b64decode(attrs["src"].split(",")[1]))
            assert picture.tag.endswith("svg")
            assert len(attrs["alt"]) > 20


def test_what_a_model_writes_stays_text(project) -> None:
    for path in [*(project / "metrics").glob("*.json"), *(project / "metrics/samples").glob("*.json")]:
        content = json.loads(path.read_text())
        text = json.dumps(content)
        for word in ("model_response", "text", "instruction", "output", "note"):
            text = re.sub(rf'("{word}": )"(?:[^"\\]|\\.)*"', lambda m: m[1] + json.dumps(HOSTILE), text)
        write_json(path, json.loads(text))
    page = Page(rendered(project))
    assert "<script>alert(1)</script>" in page.text
    assert not any(tag == "script" or "onerror" in attrs for tag, attrs in page.elements)


def test_changes_are_those_against_the_last_commit_that_had_other_figures(project) -> None:
    path = project / "metrics/pretrain.json"
    assert metric_changes(project).against == ""
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    assert not metric_changes(project).rows
    content = json.loads(path.read_text())
    before = content["final"]["validation_loss"]
    content["final"]["validation_loss"] = before + 0.25
    write_json(path, content)
    (change,) = metric_changes(project).rows
    assert (change.file, change.figure) == ("pretrain.json", "final.validation_loss")
    assert change.difference == pytest.approx(0.25)
    git(project, "commit", "-qam", "second")
    changes = metric_changes(project)
    assert changes.against.endswith("first")
    assert [row.before for row in changes.rows] == [before]
    assert figure_text(before) in Page(rendered(project)).text


def test_without_results_it_says_what_to_do(project, monkeypatch) -> None:
    (project / "metrics/evaluation.json").unlink()
    with pytest.raises(InputError, match=r"evaluation\.json: file not found; run dvc repro first"):
        write_report(project, project / "report.html")
    monkeypatch.chdir(project)
    result = CliRunner().invoke(app, ["report"])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert not (project / "report.html").exists()


def test_the_environment_is_that_of_the_trainings(project) -> None:
    facts = {"fingerprint": "0123456789ab", "cpu": "another machine's processor"}
    write_report(project, project / "report.html", {"pretrain": facts})
    page = Page((project / "report.html").read_text(encoding="utf-8"))
    for text in facts.values():
        assert page.text.count(text) == 1
    assert page.text.count("not known: no run here") == 2 * len(facts)
