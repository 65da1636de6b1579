"""A project for each prompt style, with a tiny model that has learnt to answer in it, and the `gpt` command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from gpt_from_scratch import cli
from gpt_from_scratch.data.instructions.entries import Instructions, collate
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.huggingface import save_model

STYLES = ("alpaca", "phi3")
CONTEXT = 160


@pytest.fixture(scope="session")
def entries(root) -> list[dict[str, str]]:
    """Ten of the sample's shorter entries."""
    every = json.loads((root / "data/sample/instruction-data.json").read_text(encoding="utf-8"))
    return [entry for entry in every if len(entry["output"]) < 60 and len(entry["input"]) < 60][:10]


@pytest.fixture(scope="session")
def taught(root, tmp_path_factory, entries) -> dict[str, Path]:
    """Projects by prompt style, whose models/instruct knows the entries by heart, headers included."""
    torch.set_num_threads(1)
    bpe, projects = root / "data/sample/bpe", {}
    tokenizer = load_tokenizer(bpe)
    for style in STYLES:
        project = tmp_path_factory.mktemp(style)
        (project / "dvc.yaml").write_text("stages: {}\n")
        raw = project / "data/raw"
        raw.mkdir(parents=True)
        (project / "metrics").mkdir()
        (raw / "instruction-data.json").write_text(json.dumps(entries))
        hashes = {"instruction-data.json": sha256(raw / "instruction-data.json")}
        (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))
        torch.manual_seed(1)
        shape = {"context_length": CONTEXT, "emb_dim": 64, "n_heads": 2, "n_layers": 1, "drop_rate": 0.0}
        model = GPTModel(GPTConfig(vocab_size=1536, **shape))
        base, taught = project / "models/gpt2/tiny", project / "models/instruct"
        for folder in (base, taught):
            folder.mkdir(parents=True)
        save_model(model, base, bpe, {"pretrained": "synthetic"})
        inputs, targets = collate(list(Instructions(entries, tokenizer, CONTEXT, style)), tokenizer.eot_token)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).backward()
            optimizer.step()
        facts = {"base": "tiny", "data": "sample", **({"prompt_style": style} if style != "alpaca" else {})}
        save_model(model, taught, bpe, facts)
        projects[style] = project
    return projects


@pytest.fixture
def gpt(monkeypatch) -> Callable[..., Any]:
    """Runs `gpt` with arguments in a folder."""

    def run(folder: Path, *arguments: object, **options: object) -> Any:
        monkeypatch.chdir(folder)
        return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], **options)

    return run
