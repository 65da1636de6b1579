"""Variants of the fine-tunings through the stages: what is written is what is measured, and what others compute."""

from __future__ import annotations

import json
from unittest.mock import MagicMock

import pytest
import torch
import yaml
from llms_from_scratch.ch04 import GPTModel as ReferenceModel
from peft import PeftModel
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from torch import nn
from transformers import GPT2LMHeadModel, GPT2Model

from gpt_from_scratch.data.messages.messages import read_split
from gpt_from_scratch.data.messages.spam import read_messages, split_messages
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.recipes.classify import classify
from gpt_from_scratch.recipes.evaluate import evaluate_classifier
from gpt_from_scratch.recipes.instruct import instruct
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.classifier import load_classifier
from gpt_from_scratch.weights.huggingface import load_model, save_model

CONTEXT = 40
SHAPE = {"context_length": CONTEXT, "emb_dim": 16, "n_heads": 2, "n_layers": 2, "drop_rate": 0.0}
SHORT = {"base": "pretrain", "epochs": 1, "eval_every": 1000, "eval_batches": 1, "batch_size": 8}


@pytest.fixture
def project(root, tmp_path):
    """A project with a random base, sixty messages and twenty instructions."""
    torch.manual_seed(1)
    model = GPTModel(GPTConfig(vocab_size=1536, qkv_bias=True, tie_weights=True, **SHAPE))
    nn.init.normal_(model.tok_emb.weight, std=0.3)
    folder = tmp_path / "models/pretrain"
    folder.mkdir(parents=True)
    save_model(model, folder, root / "data/sample/bpe")
    messages = read_messages(root / "data/sample/SMSSpamCollection", "clean")
    parts = split_messages(messages, "clean", 0.7, 0.1, True, 123).parts()
    (tmp_path / "data/spam").mkdir(parents=True)
    for name, number in (("train", 24), ("validation", 8), ("test", 28)):
        parts[name].head(number).to_csv(tmp_path / f"data/spam/{name}.csv", index=False)
    raw = tmp_path / "data/raw"
    raw.mkdir()
    entries = json.loads((root / "data/sample/instruction-data.json").read_text(encoding="utf-8"))[:20]
    (raw / "instruction-data.json").write_text(json.dumps(entries))
    hashes = {"instruction-data.json": sha256(raw / "instruction-data.json")}
    (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))
    (tmp_path / "metrics/plots").mkdir(parents=True)
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield tmp_path
    torch.use_deterministic_algorithms(deterministic)


def params(root, **sections):
    values = yaml.safe_load((root / "profiles/quick.yaml").read_text(encoding="utf-8"))
    for name, changes in sections.items():
        values[name] |= changes
    values["runtime"] |= {"threads": 1, "portable": False}
    return Params.model_validate(values)


@pytest.mark.parametrize(
    "variant",
    [
        {"trainable": "lora", "deciding_token": "mean", "max_length": 36, "lora": {"rank": 2, "alpha": 3.0}},
        {"trainable": "last_block", "deciding_token": "first", "causal": False},
        {"trainable": "last_layer", "deciding_token": "last", "causal": False, "drop_rate": 0.0},
    ],
    ids=["low-rank updates, mean", "first of all tokens", "last of all tokens"],
)
def test_a_classifier_is_measured_as_it_was_trained(root, project, variant):
    """The reference's model with the written weights gives the figures that `evaluate` gives."""
    settings = params(root, classify=SHORT | variant | {"optimizer": {"lr": 0.02, "weight_decay": 0.1}})
    classify(Workspace(project, settings, MagicMock()))
    folder = project / "models/classifier"
    ours, info = load_classifier(folder)
    causal, deciding = variant.get("causal", True), variant["deciding_token"]
    assert (info.causal, info.deciding_token) == (causal, deciding)

    theirs = ReferenceModel({**SHAPE, "vocab_size": 1536, "qkv_bias": True}).eval()
    theirs.out_head = nn.Linear(16, 2)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    if not causal:
        for block in theirs.trf_blocks:
            block.att.mask.zero_()
    tokenizer, test = load_tokenizer(folder), read_split(project / "data/spam/test.csv")
    longest = max(len(tokenizer.encode(text)) for text in read_split(project / "data/spam/train.csv")["Text"])
    length = variant.get("max_length") or min(longest, CONTEXT)
    assert info.max_length == length
    ids = [tokenizer.encode(text, disallowed_special=())[:length] for text in test["Text"]]
    padded = torch.tensor([row + [tokenizer.eot_token] * (length - len(row)) for row in ids])
    with torch.no_grad():
        logits = theirs(padded)
    logits = {"mean": logits.mean(1), "first": logits[:, 0], "last": logits[:, -1]}[deciding]
    found = evaluate_classifier(Workspace(project, settings), torch.device("cpu"))["test"]
    assert found["accuracy"] == (logits.argmax(1).numpy() == test["Label"]).mean()
    assert found["roc_auc"] == pytest.approx(roc_auc_score(test["Label"], (logits[:, 1] - logits[:, 0]).numpy()))

    assert (folder / "adapter").exists() == (variant["trainable"] == "lora")
    if variant["trainable"] == "lora":
        body = PeftModel.from_pretrained(GPT2Model.from_pretrained(project / "models/pretrain"), folder / "adapter")
        head = load_file(folder / "adapter/head.safetensors")
        with torch.no_grad():
            states = body.eval()(input_ids=padded).last_hidden_state.mean(1)
            assert (states @ head["score.weight"].T + head["score.bias"] - logits).abs().max() <= 1e-4
            base = GPT2Model.from_pretrained(project / "models/pretrain")(padded).last_hidden_state.mean(1)
            assert (base - states).abs().max() > 1e-2


def test_an_instruction_model_of_low_rank_updates(root, project):
    changes = {"trainable": "lora", "lora": {"rank": 2, "alpha": 4.0}, "max_length": CONTEXT, "sample_tokens": 3}
    changes["prompt_style"] = "phi3"  # whose prompts leave room for an answer in so short a context
    settings = params(root, instruct=SHORT | changes | {"optimizer": {"lr": 0.02, "weight_decay": 0.1}})
    instruct(Workspace(project, settings))
    base, folder = project / "models/pretrain", project / "models/instruct"
    ids = torch.randint(1536, (2, CONTEXT), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        merged = GPT2LMHeadModel.from_pretrained(folder).eval()(ids).logits
        plain = GPT2LMHeadModel.from_pretrained(base).eval()
        before = plain(ids).logits
        with_adapter = PeftModel.from_pretrained(plain, folder / "adapter").eval()(ids).logits
        assert (merged - with_adapter).abs().max() <= 1e-4
        assert (merged - before).abs().max() > 1e-2
        assert (load_model(folder)(ids) - merged).abs().max() <= 1e-4
    (sample,) = json.loads((project / "metrics/samples/finetune_instruct.json").read_text())
    assert len(sample["text"]) > 0


def test_messages_longer_than_the_models_context_are_refused(root, project):
    settings = params(root, classify=SHORT | {"max_length": CONTEXT + 1})
    message = rf"classify\.max_length: expected at most the context of models/pretrain, {CONTEXT} tokens, found 41"
    with pytest.raises(InputError, match=message):
        classify(Workspace(project, settings))
