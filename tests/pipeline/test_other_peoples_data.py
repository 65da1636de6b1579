"""The whole pipeline under `dvc repro` on other people's data: another script, and many classes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from stage_project import copy_project

from gpt_from_scratch.files.nested import flatten
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.huggingface import load_model

CHINESE = Path(__file__).with_name("chinese")
OUTPUTS = ("metrics/responses.json", "metrics/samples/pretrain.json", "metrics/samples/evaluate.json")


def run(folder: Path, *command: str) -> str:
    settings = {"OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/runs.db"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    answer = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | settings | {"PATH": path, "PYTHONPATH": str(folder / "src")},
    )
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-2000:]
    return answer.stdout


@pytest.fixture
def pipeline(root, tmp_path) -> Callable[[Callable[[Path, dict[str, Any]], None]], Path]:
    """Return a function that runs the pipeline at a small size, in its own repository, after a change of the params."""

    def reproduce(change: Callable[[Path, dict[str, Any]], None]) -> Path:
        copy_project(tmp_path, "stages", "src", "data/sample", "data/bases", "data/benchmarks")
        copy_project(
            tmp_path, "profiles", "experiments", "dvc.yaml", ".gitignore", "pyproject.toml", "requirements.lock"
        )
        params = yaml.safe_load((root / "profiles/quick.yaml").read_text(encoding="utf-8"))
        small = {"emb_dim": 32, "n_layers": 1, "n_heads": 2}
        params["pretrain"] |= {"epochs": 1, "model": params["pretrain"]["model"] | small}
        params["download_gpt2"]["tiny"] |= small
        params["classify"]["epochs"] = params["instruct"]["epochs"] = 1
        params["evaluate"]["response_tokens"] = 10
        change(tmp_path, params)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
        run(tmp_path, "git", "init", "-q")
        run(tmp_path, "git", "-c", "user.name=t", "-c", "user.email=t@t.t", "commit", "-qm", "first", "--allow-empty")
        run(tmp_path, "dvc", "init", "-q")
        run(tmp_path, "dvc", "repro")
        return tmp_path

    return reproduce


def in_chinese(project: Path, params: dict[str, Any]) -> None:
    shutil.copytree(CHINESE, project / "data/中文")
    params["pretrain"]["corpus"]["path"] = "data/中文/corpus.txt"
    params["pretrain"]["sample"]["prompt"] = "寶玉"
    params["classify"]["data"] = {"path": "data/中文/messages.csv", "text": "內容", "label": "類別"}
    params["instruct"]["data"] = "data/中文/instructions.json"
    params["evaluate"]["sample_prompts"] = ["寶玉"]


@pytest.mark.slow
def test_texts_labels_and_instructions_in_another_script(pipeline) -> None:
    project = pipeline(in_chinese)
    metrics = json.loads(run(project, "dvc", "metrics", "show", "--json"))[""]["data"]
    named = "pretrain: data/中文/corpus.txt; classify: data/中文/messages.csv; instruct: data/中文/instructions.json"
    assert metrics["metrics/evaluation.json"]["data"]["data"] == named
    assert metrics["metrics/evaluation.json"]["data"]["classifier"]["test"]["messages"] > 0
    classes = json.loads((project / "metrics/tables/classes.json").read_text(encoding="utf-8"))["test"]
    assert list(classes) == ["天氣", "飲食", "體育"]
    run(project, "dvc", "plots", "show", "--out", "pages")
    assert json.dumps("體育")[1:-1] in (project / "pages/index.html").read_text(encoding="utf-8")
    assert all((project / name).stat().st_size for name in OUTPUTS)
    run(project, "gpt", "report")
    assert "飲食" in (project / "report.html").read_text(encoding="utf-8")
    assert "up to date" in run(project, "dvc", "status")


def with_77_classes(project: Path, params: dict[str, Any]) -> None:
    words = ["".join(pair) for pair in product("abcdefghi", repeat=2)]
    rows = [
        (f"class number {label}", f"{words[label]} {words[-label]} {words[n]}") for label in range(77) for n in range(9)
    ]
    with (project / "data/many.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "text"), *rows])
    params["split_spam"]["validation"] = 0.2
    params["classify"]["data"] = {"path": "data/many.csv", "text": "text", "label": "label"}


@pytest.mark.slow
def test_77_classes(root, pipeline) -> None:
    project = pipeline(with_77_classes)
    for name in ("evaluation", "split_spam"):  # as many figures as with two classes
        ours, committed = (json.loads((folder / f"metrics/{name}.json").read_text()) for folder in (project, root))
        assert flatten(ours).keys() == flatten(committed).keys()
    assert len(run(project, "dvc", "metrics", "show").splitlines()) < 20
    run(project, "gpt", "report")
    page = (project / "report.html").read_text(encoding="utf-8")
    assert "The largest confusions" in page
    assert page.count("class number") < 100  # neither a table of all pairs nor of all classes


def on_a_base_of_transformers(project: Path, params: dict[str, Any]) -> None:
    """A model whose vocabulary is padded to a multiple of 64, and a tokenizer with added tokens, in one file."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    bpe, folder = project / "data/sample/bpe", project / "data/bases/mine"
    (project / "two").mkdir()
    for ours, name in (("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")):
        shutil.copy(bpe / ours, project / "two" / name)
    tokenizer = GPT2Tokenizer(str(project / "two/vocab.json"), str(project / "two/merges.txt"))
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    tokenizer.add_tokens(["<tool>"])
    torch.manual_seed(1)
    shape = {"n_positions": 256, "n_embd": 32, "n_head": 2, "n_layer": 1}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=1600, **shape))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    params["download_gpt2"] |= {"source": "path", "path": "data/bases/mine", "sizes": ["custom"]}
    params["classify"]["base"] = params["instruct"]["base"] = "gpt2/custom"
    entries = [{"instruction": f"Use <tool> {n}", "input": "", "output": f"<|pad|> {n}"} for n in range(30)]
    (project / "data/tools.json").write_text(json.dumps(entries))
    params["instruct"]["data"] = "data/tools.json"


@pytest.mark.slow
def test_a_base_with_a_padded_vocabulary_and_added_tokens(pipeline) -> None:
    from transformers import AutoTokenizer

    project = pipeline(on_a_base_of_transformers)
    text = "Use <tool> and<|pad|> <|pad|>"
    theirs = AutoTokenizer.from_pretrained(project / "data/bases/mine").encode(text)
    assert {1536, 1537} <= {*theirs}
    for name in ("gpt2/custom", "classifier", "instruct"):
        folder = project / "models" / name
        assert load_tokenizer(folder).encode_ordinary(text) == theirs
        assert AutoTokenizer.from_pretrained(folder).encode(text) == theirs
        said = run(project, "gpt", "tokenize", text, "--ids", "--model", f"models/{name}")
        assert [int(word) for word in said.split()] == theirs
    model = load_model(project / "models/instruct")
    assert list(model.unknown_ids) == list(range(1538, 1600))
    responses = json.loads((project / "metrics/responses.json").read_text(encoding="utf-8"))
    assert len(responses) == 3
    run(project, "gpt", "generate", "<tool>", "--tokens", "20", "--temperature", "5", "--model", "models/instruct")
    run(project, "gpt", "classify", "<tool> <|pad|>")
