"""A folder of tiny random models as the pipeline lays them out, and the page served over it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe
from gpt_from_scratch.weights.classifier import save_classifier
from gpt_from_scratch.weights.huggingface import save_model

TEXT = "The keeper of the light kept the keys; he keeps them still, they say. You won a free prize, call now.\n" * 3


def _random_model(seed: int, context_length: int = 256) -> GPTModel:
    shape = {
        "vocab_size": 300,
        "context_length": context_length,
        "emb_dim": 32,
        "n_heads": 4,
        "n_layers": 2,
        "drop_rate": 0.0,
    }
    torch.manual_seed(seed)
    return GPTModel(GPTConfig(**shape, qkv_bias=True)).eval()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder; not to be changed."""
    folder = tmp_path_factory.mktemp("app") / "models"
    tokenizer = folder.parent / "tokenizer"
    tokenizer.mkdir()
    save_bpe(*train_bpe(TEXT, 300), tokenizer)
    for seed, (name, facts) in enumerate(
        {"pretrain": {"data": "sample"}, "instruct": {"base": "tiny"}, "gpt2/tiny": {"pretrained": "synthetic"}}.items()
    ):
        (folder / name).mkdir(parents=True)
        save_model(_random_model(seed), folder / name, tokenizer, facts)
    classifier = _random_model(9, 128)
    classifier.out_head = nn.Linear(32, 2)
    (folder / "classifier").mkdir()
    save_classifier(
        classifier,
        folder / "classifier",
        tokenizer,
        labels=["ham", "spam"],
        max_length=60,
        pad_id=299,
        deciding_token="last",
    )
    return folder


@pytest.fixture(scope="session")
def serve(root: Path) -> Callable[..., object]:
    """A context that serves the page over a folder, in a process of its own, and gives its address."""

    @contextmanager
    def serving(folder: Path, before: str = "pass") -> Iterator[str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        code = f"{before}\nfrom gpt_from_scratch.cli import app\napp()"
        command = [sys.executable, "-c", code, "app", "--models", str(folder), "--port", str(port)]
        environment = {**os.environ, "PYTHONPATH": str(root / "src")}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder
        )
        try:
            first = process.stdout.readline()
            assert first == f"The page: http://127.0.0.1:{port}/ (Ctrl-C ends it)\n", first + process.stdout.read()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)

    return serving


@pytest.fixture(scope="session")
def address(serve: Callable[..., object], models: Path) -> Iterator[str]:
    """Where the page over `models` is served."""
    with serve(models) as address:
        yield address
