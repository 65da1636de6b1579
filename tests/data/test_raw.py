"""The fetched data: what the stage puts there, and what is noticed when another stage reads them."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from gpt_from_scratch.data.fetch import raw_data
from gpt_from_scratch.data.fetch.download import Downloads
from gpt_from_scratch.data.fetch.raw_data import fetch_raw_data
from gpt_from_scratch.data.raw import files as raw_files
from gpt_from_scratch.data.raw.files import raw_file
from gpt_from_scratch.data.raw.sources import SAMPLE, UPSTREAM
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256


@pytest.fixture
def fetched(root, tmp_path, monkeypatch):
    """The sample as the stage fetches it from a mirror's folder, as if its files were the book's and pinned."""
    sources = {}
    for place, name in SAMPLE.items():
        content = (root / "data/sample" / name).read_bytes()
        kept = tmp_path / "mirror" / place
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        known = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        sources[place] = replace(UPSTREAM[place], path=place, urls=(), member=None, **known)
    monkeypatch.setattr(raw_data, "UPSTREAM", sources)
    monkeypatch.setattr(raw_files, "UPSTREAM", sources)
    fetch_raw_data("upstream", tmp_path, Downloads(tmp_path / "downloads", str(tmp_path / "mirror"), offline=True))
    return tmp_path / "data/raw"


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_stage_puts_nothing_else_there(fetched):
    assert files(fetched) == {*SAMPLE, "sources.json"}
    notes = json.loads((fetched / "sources.json").read_text())
    assert notes == {"data": "upstream", "sha256": {place: sha256(fetched / place) for place in SAMPLE}}


def test_the_stage_runs_again_without_mirror_and_connection(fetched, tmp_path):
    shutil.rmtree(fetched)
    shutil.rmtree(tmp_path / "mirror")
    fetch_raw_data("upstream", tmp_path, Downloads(tmp_path / "downloads", offline=True))
    assert files(fetched) == {*SAMPLE, "sources.json"}


@pytest.mark.parametrize("name", [*SAMPLE, "bpe"])
def test_what_was_fetched_is_read(fetched, name):
    assert raw_file(fetched, name) == fetched / name


@pytest.mark.parametrize("data", ["sample", "upstream"])
@pytest.mark.parametrize(
    ("name", "place"), [("text.txt", "text.txt"), ("bpe", "bpe/encoder.json"), ("bpe", "bpe/vocab.bpe")]
)
def test_a_changed_file_is_refused(fetched, name, place, data):
    path = fetched / place
    notes = json.loads((fetched / "sources.json").read_text())
    (fetched / "sources.json").write_text(json.dumps(notes | {"data": data}))
    raw_file(fetched, name)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError) as caught:
        raw_file(fetched, name)
    assert str(caught.value) == (
        f"{path}: expected sha256 {notes['sha256'][place]} ({fetched / 'sources.json'}), found {sha256(path)}; "
        "dvc repro -f fetch_data brings it back"
    )
    path.unlink()
    with pytest.raises(InputError, match=f"{path}: file not found; dvc repro -f fetch_data"):
        raw_file(fetched, name)


def test_upstream_data_are_held_to_what_is_pinned_too(fetched):
    path = fetched / "text.txt"
    path.write_text("another text")
    notes = json.loads((fetched / "sources.json").read_text())
    notes["sha256"]["text.txt"] = sha256(path)
    (fetched / "sources.json").write_text(json.dumps(notes))
    with pytest.raises(InputError, match=f"expected sha256 {raw_files.UPSTREAM['text.txt'].sha256} .the pinned one."):
        raw_file(fetched, "text.txt")
    (fetched / "sources.json").write_text(json.dumps(notes | {"data": "sample"}))
    raw_file(fetched, "text.txt")


@pytest.mark.parametrize(
    "notes", [[], {}, {"data": "sample"}, {"data": "sample", "sha256": {}}, {"data": 1, "sha256": 2}]
)
def test_notes_that_say_nothing(fetched, notes):
    (fetched / "sources.json").write_text(json.dumps(notes))
    with pytest.raises(
        InputError, match=r"sources\.json: expected data: sample or upstream, and the sha256 of text\.txt"
    ):
        raw_file(fetched, "text.txt")


def test_a_name_that_is_never_fetched(fetched):
    with pytest.raises(KeyError):
        raw_file(fetched, "../params.yaml")
