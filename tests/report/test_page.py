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
import yaml
from typer.testing import CliRunner

from gpt_from_scratch.cli import app
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import figure_text, figures, headline
from gpt_from_scratch.experiments.published import published_rows
from gpt_from_scratch.files.writing import write_json
from gpt_from_scratch.report.changes import Change, Changes, changes
from gpt_from_scratch.report.charts import TRAININGS, Chart
from gpt_from_scratch.report.page import write_report
from tests.params_file import set_params

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


def copied(root: Path, folder: Path) -> Path:
    for name in ("dvc.yaml", "params.yaml", "requirements.lock"):
        shutil.copy(root / name, folder)
    for name in ("metrics", "experiments", "profiles"):
        shutil.copytree(root / name, folder / name)
    return folder


@pytest.fixture
def project(root, tmp_path) -> Path:
    return copied(root, tmp_path)


@pytest.fixture(scope="module")
def committed(root, tmp_path_factory) -> Path:
    """A project as `project`, for all tests that change nothing."""
    return copied(root, tmp_path_factory.mktemp("committed"))


@pytest.fixture(scope="module")
def page(committed) -> Page:
    return Page(rendered(committed))


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    """Draw no charts, where only the text counts: a report's take a second."""
    monkeypatch.setattr(Chart, "_drawn", lambda *_: b"<svg><defs></defs></svg>")


def rendered(project: Path) -> str:
    write_report(project, project / "report.html")
    return (project / "report.html").read_text(encoding="utf-8")


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def git_subject(folder: Path) -> str:
    command = ["git", "log", "-1", "--format=%h %s", "HEAD~1"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_further_keys_of_the_instructions_are_no_texts_of_theirs(project, no_pictures) -> None:
    entries = [{"instruction": "a", "input": "", "output": "b", "chosen": None, "rejected": [1]}, {"messages": []}]
    write_json(project / "data/own.json", entries)
    params = (project / "params.yaml").read_text().replace("data/raw/instruction-data.json", "data/own.json")
    (project / "params.yaml").write_text(params)
    text = Page(rendered(project)).text
    assert "instructions, output 1 1 1 1" in text and "instructions, chosen" not in text


def test_it_shows_every_figure_answer_and_sample(page, committed) -> None:
    evaluation = json.loads((committed / "metrics/evaluation.json").read_text())
    for name, value in figures(evaluation).items():
        assert figure_text(value, name) in page.text, name
    published = published_rows(committed)
    assert len(published) > 40
    for row in published:
        assert row["figure"] in page.text
        assert row["note"] in page.text
    for entry in json.loads((committed / "metrics/responses.json").read_text()):
        assert " ".join(entry["model_response"].split()) in page.text
    for file in (committed / "metrics/samples").glob("*.json"):
        for row in json.loads(file.read_text()):
            assert " ".join(row["text"].split()) in page.text
    titles = [dict(attrs)["alt"] for tag, attrs in page.elements if tag == "img"]
    for kind in ("Pretraining: loss", "learning rate", "Classifier: accuracy", "Confusion matrix", "ROC curve"):
        assert any(kind in title for title in titles), kind
    assert "profile: quick" in page.text


def test_it_needs_nothing_from_elsewhere(page) -> None:
    addresses = [v for _, attrs in page.elements for k, v in attrs.items() if k in ("src", "href", "srcset", "action")]
    assert addresses
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses)
    anchors = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert {a[1:] for a in addresses if a.startswith("#")} <= anchors
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "form"}


def test_pictures_are_well_formed_and_described(page) -> None:
    for tag, attrs in page.elements:
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


def test_figures_and_curves_stand_first_and_the_rest_is_folded(page, committed) -> None:
    places = [attrs["id"] for _, attrs in page.elements if not attrs.get("id", "note-").startswith("note-")]
    assert places[:3] == ["headline", "curves", "changes"]
    assert [attrs["href"] for tag, attrs in page.elements if tag == "a"][: len(places)] == [f"#{id}" for id in places]
    tags = [tag for tag, _ in page.elements]
    first = tags.index("details")
    assert tags[:first].count("dd") == 6
    assert tags[:first].count("img") == 5
    assert "table" not in tags[:first]
    assert tags.count("details") == len(places) - 3
    assert not any("open" in attrs for tag, attrs in page.elements if tag == "details")
    for name, text, within in headline(json.loads((committed / "metrics/evaluation.json").read_text())):
        assert f"{name} {text}{f' 95 % interval {within}' if within else ''}" in page.text


def test_every_image_has_its_size(page) -> None:
    images = [attrs for tag, attrs in page.elements if tag == "img"]
    assert len(images) == 11
    for attrs in images:
        picture = ET.fromstring(base64.b64decode(attrs["src"].split(",")[1]))
        size = [float(picture.get(side).removesuffix("pt")) * 96 / 72 for side in ("width", "height")]
        assert [int(attrs[side]) for side in ("width", "height")] == pytest.approx(size, abs=1)


def test_every_footnote_has_a_referrer_and_leads_back(page, committed) -> None:
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a"]
    notes = [attrs["id"] for tag, attrs in page.elements if tag == "li" and "id" in attrs]
    assert notes == [f"note-{number}" for number in range(1, len(notes) + 1)]
    assert len(notes) == len({row["note"] for row in published_rows(committed) if row["note"]})
    for note in notes:
        assert f"#{note}" in links
        assert links.count(f"#{note}-from") == 1
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_changes_are_those_against_the_last_commit_that_had_other_figures_or_parameters(project, no_pictures) -> None:
    path, params = project / "metrics/pretrain.json", project / "params.yaml"
    nothing = "There is no earlier commit with metrics to compare with."
    git(project, "init", "-q")
    assert nothing in Page(rendered(project)).text
    git(project, "add", "params.yaml")
    git(project, "commit", "-qm", "no metrics yet")
    assert changes(project) == Changes()
    assert nothing in Page(rendered(project)).text
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    assert not changes(project).figures
    assert re.search(r"All figures and parameters are those of the commit \w+ first", Page(rendered(project)).text)
    content = json.loads(path.read_text())
    before = content["final"]["validation_loss"]
    content["final"]["validation_loss"] = before + 0.25
    write_json(path, content)
    lr = yaml.safe_load(params.read_text())["pretrain"]["optimizer"]["lr"]
    set_params(params, {"pretrain.optimizer.lr": lr / 2})
    (figure,), (param,) = changes(project).figures, changes(project).params
    assert (figure.file, figure.name, figure.before) == ("pretrain", "final/validation_loss", before)
    assert param == Change("params", "pretrain.optimizer.lr", lr, lr / 2)
    git(project, "commit", "-qam", "second")
    assert changes(project).against.endswith("first")
    text = Page(rendered(project)).text
    values = " ".join(map(figure_text, (before, before + 0.25, 0.25)))
    assert f"Pretraining final validation loss (5 batches) {values}" in text
    assert f"pretrain.optimizer.lr {lr:g} {lr / 2:g}" in text
    git(project, "commit", "-qm", "third", "--allow-empty")
    assert changes(project) == Changes(git_subject(project))


def test_a_changed_figure_says_on_how_many_batches_it_was_measured(project, no_pictures) -> None:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    for name in TRAININGS:
        path = project / f"metrics/{name}.json"
        content = json.loads(path.read_text())
        for part in ("initial", "final"):
            content[part]["train_loss"] += 1
        write_json(path, content)
    text = Page(rendered(project)).text
    for title, said in (("Pretraining", ""), ("Classifier", " (10 batches)"), ("Instruction tuning", " (5 batches)")):
        assert re.search(rf"{title} initial training loss{re.escape(said)} \d", text)
        assert re.search(rf"{title} final training loss \(5 batches\) \d", text)


def test_a_metrics_file_that_the_commit_lacks_is_not_compared(project) -> None:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "rm", "-q", "--cached", "metrics/pretrain.json")
    git(project, "commit", "-qm", "first")
    assert changes(project).against.endswith("first")
    assert changes(project).figures == []


def test_without_results_it_says_what_to_do(project, monkeypatch) -> None:
    (project / "metrics/evaluation.json").unlink()
    with pytest.raises(InputError, match=r"evaluation\.json: file not found; run dvc repro first"):
        write_report(project, project / "report.html")
    monkeypatch.chdir(project)
    result = CliRunner().invoke(app, ["report"])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert not (project / "report.html").exists()


def test_the_environment_is_that_of_the_trainings(project, no_pictures) -> None:
    facts = {"fingerprint": "0123456789ab", "cpu": "another machine's processor"}
    write_report(project, project / "report.html", {"pretrain": facts})
    page = Page((project / "report.html").read_text(encoding="utf-8"))
    for text in facts.values():
        assert page.text.count(text) == 1
    assert page.text.count("not known: no run here") == 2 * len(facts)
