"""Adapters: what `peft` computes with them over the base, beside the merged model and the model that was trained."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import GPT2LMHeadModel, GPT2Model

from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.model.heads import set_classification_head
from gpt_from_scratch.model.lora import LoRALayer, merge_lora, train_lora
from gpt_from_scratch.weights.adapter import save_adapter
from gpt_from_scratch.weights.huggingface import load_model, save_model

RANK, ALPHA = 3, 7.5


def with_updates(model: GPTModel) -> GPTModel:
    """Give a model updates of its every layer, none of them like another."""
    torch.manual_seed(5)
    train_lora(model, RANK, ALPHA)
    for module in model.modules():
        if isinstance(module, LoRALayer):
            nn.init.normal_(module.B, std=0.05)
    return model.eval()


@pytest.fixture
def base(tmp_path, random_model, tokenizer_folder) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    save_model(random_model(), folder, tokenizer_folder)
    return folder


@torch.no_grad()
def test_peft_computes_the_merged_language_model(tmp_path, base, random_model, tokenizer_folder, ids) -> None:
    model = with_updates(random_model())
    save_adapter(model, tmp_path / "adapter", "models/gpt2/tiny")
    trained = model(ids)
    merge_lora(model)
    (tmp_path / "merged").mkdir()
    save_model(model, tmp_path / "merged", tokenizer_folder)

    with_adapter = PeftModel.from_pretrained(GPT2LMHeadModel.from_pretrained(base), tmp_path / "adapter").eval()
    found = with_adapter(ids).logits
    merged = GPT2LMHeadModel.from_pretrained(tmp_path / "merged").eval()
    assert (found - merged(ids).logits).abs().max() <= 1e-4
    assert (found - trained).abs().max() <= 1e-4
    assert (found - random_model()(ids)).abs().max() > 0.1
    assert not merged.config.tie_word_embeddings
    loaded = load_model(tmp_path / "merged")
    assert torch.equal(loaded.tok_emb.weight, random_model().tok_emb.weight)
    assert not torch.equal(loaded.out_head.weight, loaded.tok_emb.weight)
    torch.testing.assert_close(loaded(ids), trained, rtol=0, atol=1e-4)
    assert {parameter.shape[0] for name, parameter in with_adapter.named_parameters() if "c_attn.lora_A" in name} == {9}


@torch.no_grad()
def test_peft_computes_the_classifiers_body_and_the_head_lies_beside_it(tmp_path, base, random_model, ids) -> None:
    model = random_model()
    set_classification_head(model, 3)
    with_updates(model)
    save_adapter(model, tmp_path / "adapter", "models/gpt2/tiny", classifier=True)
    body = PeftModel.from_pretrained(GPT2Model.from_pretrained(base), tmp_path / "adapter").eval()
    states = body(input_ids=ids).last_hidden_state
    assert (states - model.hidden_states(ids)).abs().max() <= 1e-4
    head = load_file(tmp_path / "adapter/head.safetensors")
    logits = states @ head["score.weight"].T + head["score.bias"]
    merge_lora(model)
    assert (logits - model(ids)).abs().max() <= 1e-4


def test_peft_knows_every_setting_and_misses_no_tensor(tmp_path, base, random_model, recwarn) -> None:
    save_adapter(with_updates(random_model()), tmp_path / "adapter", "models/gpt2/tiny")
    config = LoraConfig.from_pretrained(tmp_path / "adapter")
    assert (config.r, config.lora_alpha, config.base_model_name_or_path) == (RANK, ALPHA, "models/gpt2/tiny")
    model = PeftModel.from_pretrained(GPT2LMHeadModel.from_pretrained(base), tmp_path / "adapter")
    stored = load_file(tmp_path / "adapter/adapter_model.safetensors")
    loaded = {name.replace(".default", ""): value for name, value in model.named_parameters() if "lora_" in name}
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[name], value) for name, value in stored.items())
    assert not [warning for warning in recwarn if "missing" in str(warning.message).lower()]


def test_equal_updates_give_equal_bytes(tmp_path, random_model) -> None:
    model = with_updates(random_model())
    for name in ("one", "other"):
        save_adapter(copy.deepcopy(model), tmp_path / name, "models/gpt2/tiny")
    for path in (tmp_path / "one").iterdir():
        assert sha256(path) == sha256(tmp_path / "other" / path.name), path.name


def test_a_merged_model_keeps_its_kernels_and_learns_nothing_more(random_model, ids) -> None:
    model = with_updates(random_model(kernels="fused"))
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    merge_lora(model)
    assert [module for module in model.modules() if isinstance(module, nn.Linear)] == linears
    assert not any(parameter.requires_grad for parameter in model.parameters())
