"""The profiles that follow nanoGPT: beside a training by its rules, written out here, and at small size."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gpt_from_scratch.data.text.corpus import TokenWindows
from gpt_from_scratch.data.text.pretraining import pretraining_tokenizer, read_pretraining_text
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.recipes.pretrain import pretrain
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.huggingface import load_model


class NanoGPT:
    """nanoGPT's model and rules: no biases, tied weights, random places of the text."""

    def __init__(self, params, vocab_size: int) -> None:
        self.params, shape = params, params.model
        width, layers = shape.emb_dim, shape.n_layers
        self.weights = {"tokens": torch.randn(vocab_size, width) * 0.02}
        self.weights |= {"places": torch.randn(shape.context_length, width) * 0.02, "norm": torch.ones(width)}
        for layer in range(layers):
            for name, outputs, inputs in (("qkv", 3, 1), ("out", 1, 1), ("up", 4, 1), ("down", 1, 4)):
                scale = 0.02 / math.sqrt(2 * layers) if name in ("out", "down") else 0.02
                self.weights[f"{layer}.{name}"] = torch.randn(outputs * width, inputs * width) * scale
            self.weights |= {f"{layer}.norm{number}": torch.ones(width) for number in (1, 2)}
        for weight in self.weights.values():
            weight.requires_grad = True

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        weights, shape = self.weights, self.params.model
        x = F.embedding(ids, weights["tokens"]) + weights["places"][: ids.shape[1]]
        for layer in range(shape.n_layers):
            of = {name: weights[f"{layer}.{name}"] for name in ("qkv", "out", "up", "down", "norm1", "norm2")}
            normed = F.layer_norm(x, x.shape[-1:], of["norm1"])
            heads = (normed @ of["qkv"].T).unflatten(-1, (3, shape.n_heads, -1)).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(*heads, is_causal=True)
            x = x + attended.transpose(1, 2).flatten(2) @ of["out"].T
            x = x + F.gelu(F.layer_norm(x, x.shape[-1:], of["norm2"]) @ of["up"].T) @ of["down"].T
        logits = F.layer_norm(x, x.shape[-1:], weights["norm"]) @ weights["tokens"].T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def train(self, ids: Tensor) -> None:
        optimizer, schedule = self.params.optimizer, self.params.schedule
        length, steps, warmup = self.params.model.context_length, self.params.max_steps, schedule.warmup_steps
        matrices, vectors = ([one for one in self.weights.values() if (one.ndim > 1) == wide] for wide in (True, False))
        groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        adamw = torch.optim.AdamW(groups, weight_decay=optimizer.weight_decay, betas=(optimizer.beta1, optimizer.beta2))
        for step in range(steps):
            rate = optimizer.lr * (step + 1) / (warmup + 1)
            if step >= warmup:
                share = (step - warmup) / (steps - warmup)
                rate = schedule.min_lr + (1 + math.cos(math.pi * share)) / 2 * (optimizer.lr - schedule.min_lr)
            for group in adamw.param_groups:
                group["lr"] = rate
            starts = torch.randint(len(ids) - length, (self.params.batch_size,))
            windows = torch.stack([ids[start : start + length + 1] for start in starts])
            adamw.zero_grad()
            self.loss(windows[:, :-1], windows[:, 1:]).backward()
            torch.nn.utils.clip_grad_norm_(self.weights.values(), schedule.max_grad_norm)
            adamw.step()


def both(project, params: Params) -> tuple[float, float]:
    """Train by the recipe and by nanoGPT's rules; return their losses on the whole validation part, in nats a token."""
    pretrain(Workspace(project, params))
    section, folder, kept = params.pretrain, project / "models/pretrain", project / ".cache/corpora"
    tokenizer = load_tokenizer(pretraining_tokenizer(section, project, kept))
    text = read_pretraining_text(section, project, kept, tokenizer, folder)
    ours, length = load_model(folder), section.model.context_length
    torch.manual_seed(section.seed)
    theirs = NanoGPT(section, tokenizer.n_vocab)
    theirs.train(torch.tensor(text.train[:].astype(int)))
    inputs, targets = (torch.stack(part) for part in zip(*TokenWindows(text.validation, length, length), strict=True))
    with torch.no_grad():
        loss = F.cross_entropy(ours(inputs).flatten(0, 1), targets.flatten())
        return loss.item(), theirs.loss(inputs, targets).item()


@pytest.fixture
def project(tmp_path, root):
    (tmp_path / "data/corpus").mkdir(parents=True)
    shutil.copy(root / "data/sample/the-lighthouse.txt", tmp_path / "data/corpus")
    return tmp_path


def changed(params: Params, **changes) -> Params:
    """Return parameters with other values in pretrain, where a section keeps what is not named."""
    values = params.model_dump()
    for name, value in changes.items():
        values["pretrain"][name] = {**values["pretrain"][name], **value} if isinstance(value, dict) else value
    return Params.model_validate(values)


@pytest.mark.slow
def test_the_profile_shakespeare_learns_as_nanogpt_does(root, project):
    params = changed(load_params(root / "profiles/shakespeare.yaml"), max_steps=200, keep="last")
    ours, theirs = both(project, params)
    assert ours == pytest.approx(theirs, abs=0.05)
    assert ours < 2.7


def test_the_profile_gpt2_at_small_size(root, project):
    params = load_params(root / "profiles/gpt2.yaml")
    section = params.pretrain
    per_update = section.batch_size * section.accumulation_steps * section.model.context_length
    assert (per_update, params.runtime.processes) == (491_520, 8)
    schedule = section.schedule
    assert schedule.initial_lr == pytest.approx(section.optimizer.lr / (schedule.warmup_steps + 1), 1e-2)
    raw = project / "data/raw"
    shutil.copytree(root / "data/sample/bpe", raw / "bpe")
    hashes = {f"bpe/{path.name}": sha256(path) for path in (raw / "bpe").iterdir()}
    (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))
    small = {"model": {"context_length": 32, "emb_dim": 32, "n_heads": 4, "n_layers": 2}, "stride": 32}
    small |= {"max_steps": 3, "batch_size": 8, "accumulation_steps": 2, "schedule": {"warmup_steps": 1}}
    small |= {"precision": "fp32", "compile": False, "train_fraction": 0.9, "eval_every": 1}
    params = changed(params, **small)
    params = params.model_copy(update={"runtime": params.runtime.model_copy(update={"device": "cpu", "processes": 1})})
    pretrain(Workspace(project, params))
    found = json.loads((project / "metrics/pretrain.json").read_text())
    assert (found["steps"], found["seen"]) == (3, 3 * 2 * 8 * 32)
    assert found["final"]["train_loss"] < found["initial"]["train_loss"]
    assert load_model(project / "models/pretrain").config.tie_weights
