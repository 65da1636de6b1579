"""`gpt export`: what leaves the project, loaded by others' code."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel

from gpt_from_scratch.files.writing import write_json
from gpt_from_scratch.report.card import folder_card
from gpt_from_scratch.weights import export
from gpt_from_scratch.weights.classifier import load_classifier
from gpt_from_scratch.weights.config_file import OUR_KEY
from gpt_from_scratch.weights.huggingface import load_model

IDS = torch.randint(0, 1536, (2, 20), generator=torch.Generator().manual_seed(3))


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, rtol=0.0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["pretrain", "instruct"])
def test_transformers_loads_it_as_the_card_says(gpt, project, tmp_path, monkeypatch, name) -> None:
    result = gpt("export", name, tmp_path / "mine")
    assert result.exit_code == 0, result.stderr
    assert same(
        GPT2LMHeadModel.from_pretrained(tmp_path / "mine").eval()(IDS).logits,
        load_model(project / "models" / name)(IDS),
    )
    card = (tmp_path / "mine/README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["library_name"], front["pipeline_tag"]) == (
        "mit",
        "transformers",
        "text-generation",
    )
    assert "base_model" not in front, "random weights have none"
    assert front["datasets"] == [], "the sample is in no hub"
    assert ("| validation loss | 4.250 |" in card) == (name == "pretrain")
    assert "CC0" in card
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    code = card.split("```python\n")[1].split("```")[0]
    exec(code, {"print": said.append})
    assert said[0].startswith("Below is" if name == "instruct" else "Every effort moves you")


@pytest.mark.parametrize(
    ("facts", "known"),
    [
        ({"data": "sample", "pretrained": "none"}, True),
        ({"data": "upstream", "pretrained": "openai"}, True),
        ({"pretrained": "synthetic"}, True),
        ({"data": "data/中文.txt", "pretrained": "none"}, False),
        ({"data": "sample", "base_data": "data/中文.txt", "pretrained": "none"}, False),
        ({"data": "sample", "pretrained": "path"}, False),
    ],
)
def test_a_card_claims_no_language_and_no_licence_of_data_that_are_not_known(project, tmp_path, facts, known) -> None:
    folder = shutil.copytree(project / "models/pretrain", tmp_path / "mine")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    write_json(path, config | {OUR_KEY: {**facts, "qkv_bias": True}})
    card = folder_card(folder, "mine")
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front.get("language"), front["license"]) == (("en", "mit") if known else (None, "other"))
    assert ("CC0" in card) == (facts.get("data") == "sample")
    for key in ("data", "base_data"):
        assert (f"the user's own `{facts.get(key)}`" in card) == str(facts.get(key)).startswith("data/")


@torch.no_grad()
@pytest.mark.parametrize("name", ["classifier", "spotter", "opener", "averager", "seer"])
def test_a_classifiers_card_gives_its_probabilities(gpt, project, tmp_path, monkeypatch, name) -> None:
    assert gpt("export", name, tmp_path / "mine").exit_code == 0
    card = (tmp_path / "mine/README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["pipeline_tag"] == "text-classification"
    monkeypatch.chdir(tmp_path)
    said: list[dict[str, float]] = []
    exec(card.split("```python\n")[1].split("```")[0], {"print": said.append})
    monkeypatch.chdir(project)
    label, probability = gpt("classify", "You have won a prize", "--model", name).stdout.split()
    assert max(said[0], key=said[0].get) == label
    assert said[0][label] == pytest.approx(float(probability), abs=1e-4)
    again = gpt("classify", "You have won a prize", "--model", tmp_path / "mine")
    assert again.stdout.split() == [label, probability]


@torch.no_grad()
@pytest.mark.parametrize("name", ["pretrain", "instruct"])
def test_the_books_code_loads_the_pth(gpt, project, tmp_path, name) -> None:
    ch04 = pytest.importorskip("llms_from_scratch.ch04")
    result = gpt("export", name, tmp_path / "model.pth", "--format", "book")
    config = eval(result.stdout.split("GPTModel(")[1].split(")")[0])
    model = ch04.GPTModel(config).eval()
    model.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True), strict=True)
    assert same(model(IDS), load_model(project / "models" / name)(IDS))


@torch.no_grad()
def test_the_books_code_loads_a_classifier(gpt, project, tmp_path) -> None:
    ch04 = pytest.importorskip("llms_from_scratch.ch04")
    result = gpt("export", "classifier", tmp_path / "model.pth", "--format", "book")
    model = ch04.GPTModel(eval(result.stdout.split("model = GPTModel(")[1].split(")\n")[0])).eval()
    model.out_head = torch.nn.Linear(32, 2)
    model.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True), strict=True)
    assert same(model(IDS), load_classifier(project / "models/classifier")[0](IDS))


def test_the_books_code_has_no_model_whose_tokens_see_later_ones(gpt, tmp_path) -> None:
    result = gpt("export", "seer", tmp_path / "model.pth", "--format", "book")
    assert result.exit_code == 1
    assert "expected a causal model, as the book's code always is" in result.stderr
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_without_force_and_no_strangers_folder_with_it(gpt, project, tmp_path) -> None:
    assert gpt("export", "pretrain", tmp_path / "mine").exit_code == 0
    (tmp_path / "mine/config.json").write_text("{}")
    again = gpt("export", "pretrain", tmp_path / "mine")
    assert again.exit_code == 1
    assert "exists already; --force replaces it" in again.stderr
    assert (tmp_path / "mine/config.json").read_text() == "{}"
    assert gpt("export", "pretrain", tmp_path / "mine", "--force").exit_code == 0
    assert json.loads((tmp_path / "mine/config.json").read_text())["n_embd"] == 32
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat").touch()
    stranger = gpt("export", "pretrain", tmp_path / "photos", "--force")
    assert "expected an earlier export to replace, found something else" in stranger.stderr
    assert (tmp_path / "photos/cat").exists()
    assert "another place" in gpt("export", "pretrain", project / "models/pretrain", "--force").stderr
    assert "another place" in gpt("export", "pretrain", project, "--force").stderr
    assert "expected a name that ends in .pth" in gpt("export", "pretrain", tmp_path / "x", "--format", "book").stderr
    assert "expected a folder for x" in gpt("export", "pretrain", tmp_path / "no/x").stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "photos"]


def test_nothing_is_written_before_all_options_are_checked(gpt, tmp_path, monkeypatch) -> None:
    (tmp_path / "mine.gguf").touch()
    (tmp_path / "other.gguf").mkdir()
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr(export, "load_any", lambda _: pytest.fail("the weights are read"))
    for (out, *options), complaint in (
        (["mine", "--hub", "a b/c"], "--hub: expected USER/NAME"),
        (["mine", "--hub", "me/mine", "--push"], "--push: expected a token"),
        (["mine", "--gguf"], "mine.gguf: exists already"),
        (["other", "--gguf", "--force"], "other.gguf: exists already"),
        (["no/mine"], "expected a folder for mine"),
        (["mine.gguf"], "mine.gguf: exists already"),
        (["x", "--format", "book"], "expected a name that ends in .pth"),
    ):
        refused = gpt("export", "pretrain", tmp_path / out, *options)
        assert complaint in refused.stderr and refused.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.gguf", "other.gguf"]


def test_what_does_not_compute_the_same_is_not_left_there(gpt, tmp_path, monkeypatch) -> None:
    save = export.save_model

    def wrong(model, folder, *others) -> None:
        save(model, folder, *others)
        tensors = load_file(folder / "model.safetensors")
        tensors["transformer.ln_f.bias"] += 0.01
        save_file(tensors, folder / "model.safetensors")

    monkeypatch.setattr(export, "save_model", wrong)
    result = gpt("export", "pretrain", tmp_path / "mine")
    assert result.exit_code == 1
    assert "expected the model's logits, found some that differ by" in result.stderr
    assert list(tmp_path.iterdir()) == []
