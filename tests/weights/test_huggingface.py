"""Language-model folders: our reader and writer against `transformers`, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model.config import GPT2_SIZES
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.huggingface import load_config, load_facts, load_model, save_model

FILES = {
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors",
    "tokenizer_config.json",
    "vocab.json",
}


@pytest.fixture
def folder(tmp_path, random_model, tokenizer_folder) -> Path:
    save_model(random_model(), tmp_path, tokenizer_folder, {"pretrained": "none", "data": "sample"})
    return tmp_path


@torch.no_grad()
def same(first, second, ids) -> bool:
    first, second = (getattr(logits, "logits", logits) for logits in (first(ids), second(ids)))
    return torch.allclose(first, second, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("tie_weights", [False, True])
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_there_and_back(tmp_path, random_model, tokenizer_folder, ids, tie_weights, qkv_bias) -> None:
    model = random_model(tie_weights=tie_weights, qkv_bias=qkv_bias, drop_rate=0.1)
    save_model(model, tmp_path, tokenizer_folder)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert load_config(tmp_path) == model.config
    loaded = load_model(tmp_path, drop_rate=0.2, kernels="explicit")
    assert not loaded.training
    assert loaded.config.drop_rate == loaded.drop_emb.p == 0.2
    assert (loaded.out_head.weight is loaded.tok_emb.weight) == tie_weights
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert all(torch.equal(loaded.state_dict()[name], values) for name, values in model.state_dict().items())
    assert same(GPT2LMHeadModel.from_pretrained(tmp_path).eval(), model, ids)


def test_a_head_that_was_tied_later_counts_as_tied(tmp_path, random_model, tokenizer_folder) -> None:
    model = random_model(tie_weights=False)
    model.out_head.weight = model.tok_emb.weight
    save_model(model, tmp_path, tokenizer_folder)
    assert load_config(tmp_path).tie_weights
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize("size", GPT2_SIZES)
def test_transformers_gives_our_logits_at_every_width(tmp_path, random_model, tokenizer_folder, ids, size) -> None:
    published = GPT2_SIZES[size]
    model = random_model(emb_dim=published.emb_dim, n_heads=published.n_heads, n_layers=1)
    save_model(model, tmp_path, tokenizer_folder)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert same(theirs, model, ids)
    assert same(theirs, load_model(tmp_path), ids)


@pytest.mark.parametrize("tied", [False, True])
def test_what_transformers_saves(tmp_path, ids, tied) -> None:
    config = GPT2Config(
        vocab_size=300, n_positions=16, n_embd=32, n_head=4, n_layer=2, tie_word_embeddings=tied, bos_token_id=0
    )
    theirs = GPT2LMHeadModel(config).eval()
    for parameter in theirs.parameters():
        parameter.data.normal_(0.0, 0.5)
    theirs.save_pretrained(tmp_path)
    assert load_facts(tmp_path) == {}
    assert same(theirs, load_model(tmp_path), ids)


def test_an_old_file_with_masks_and_without_prefix(folder, random_model, ids) -> None:
    path = folder / "model.safetensors"
    tensors = {name.removeprefix("transformer."): values for name, values in load_file(path).items()}
    for layer in range(2):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    save_file(tensors, path, metadata={"format": "pt"})
    assert same(load_model(folder), random_model(), ids)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(folder, dtype) -> None:
    path = folder / "model.safetensors"
    tensors = {name: values.to(dtype) for name, values in load_file(path).items()}
    save_file(tensors, path)
    model = load_model(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.tok_emb.weight, tensors["transformer.wte.weight"].float())


def test_equal_models_give_equal_bytes(tmp_path, random_model, tokenizer_folder) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_model(random_model(tie_weights=False), tmp_path / name, tokenizer_folder, {"b": 1, "a": [2.5]})
    for file in FILES:
        assert sha256(tmp_path / "one" / file) == sha256(tmp_path / "two" / file), file
    metadata = json.loads((tmp_path / "one/model.safetensors").read_bytes()[8:].split(b"}}")[0] + b"}}")
    assert metadata["__metadata__"] == {"format": "pt"}


def test_facts(folder) -> None:
    assert load_facts(folder) == {"pretrained": "none", "data": "sample"}


def test_the_tokenizer_in_the_folder(folder) -> None:
    ours = load_tokenizer(folder)
    text = "The keeper's  café,\n\n\tnaïve 東京 <|endoftext|>bananas 123 "
    expected = ours.encode(text, allowed_special="all")
    for theirs in (AutoTokenizer.from_pretrained(folder), GPT2TokenizerFast.from_pretrained(folder)):
        assert theirs(text)["input_ids"] == expected
        assert theirs.decode(expected) == text
        assert theirs.eos_token_id == ours.eot_token == 299
    assert GPT2LMHeadModel.from_pretrained(folder).generation_config.eos_token_id == 299


def test_a_tokenizer_that_is_too_large(tmp_path, random_model, tokenizer_folder) -> None:
    with pytest.raises(InputError, match="tokenizer of 300 tokens: expected at most the model's 299"):
        save_model(random_model(vocab_size=299), tmp_path, tokenizer_folder)


def change_config(folder, **changes: object) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "gone"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "model_type: expected 'gpt2', found 'llama'"),
        ({"activation_function": "gelu"}, "activation_function: expected 'gelu_new', found 'gelu'"),
        ({"layer_norm_epsilon": 0.1}, "layer_norm_epsilon: expected 1e-05, found 0.1"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: expected False, found True"),
        ({"n_inner": 5}, "n_inner: expected null or 128, found 5"),
        ({"n_head": "gone"}, "n_head: expected a whole number, found None"),
        ({"n_layer": "2"}, "n_layer: expected a whole number, found '2'"),
        ({"n_embd": True}, "n_embd: expected a whole number, found True"),
        ({"n_embd": 30}, "emb_dim must be divisible by n_heads, found 30 and 4"),
        ({"n_positions": 0}, "context_length must be at least 1, found 0"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings: expected true or false, found 1"),
        ({"resid_pdrop": "much"}, "resid_pdrop: expected a number from 0 to below 1, found 'much'"),
        ({"gpt_from_scratch": []}, "gpt_from_scratch: expected a JSON object, found list"),
        ({"gpt_from_scratch": {"qkv_bias": "no"}}, r"gpt_from_scratch\.qkv_bias: expected true or false, found 'no'"),
    ],
)
def test_a_config_that_is_wrong(folder, changes, message) -> None:
    change_config(folder, **changes)
    with pytest.raises(InputError, match=rf"config\.json: .*{message}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 301}, r"tensor wte\.weight: expected shape \[301, 32\], found \[300, 32\]"),
        ({"n_positions": 8}, r"tensor wpe\.weight: expected shape \[8, 32\], found \[16, 32\]"),
        ({"n_layer": 1}, r"tensor h\.1\.attn\.c_attn\.bias: expected no such tensor in this model"),
        ({"n_layer": 10**12}, r"tensor h\.2\.ln_1\.weight: expected shape \[32\], found no such tensor"),
        ({"n_embd": 4 * 10**12}, r"tensor wte\.weight: expected shape \[300, 4000000000000\]"),
        ({"tie_word_embeddings": False}, r"tensor lm_head\.weight: expected shape \[300, 32\], found no such tensor"),
        ({"gpt_from_scratch": {"qkv_bias": False}}, r"tensor h\.0\.attn\.c_attn\.bias: expected zeros"),
    ],
)
def test_a_config_that_does_not_fit_the_tensors(folder, changes, message) -> None:
    change_config(folder, **changes)
    with pytest.raises(InputError, match=rf"model\.safetensors: {message}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("h.1.ln_2.bias", None, r"tensor h\.1\.ln_2\.bias: expected shape \[32\], found no such tensor"),
        ("h.0.mlp.c_fc.weight", torch.zeros(128, 32), r"expected shape \[32, 128\], found \[128, 32\]"),
        ("h.0.ln_1.bias", torch.zeros(32, dtype=torch.int32), "expected a type of F32, F16, BF16, F64, found I32"),
        ("h.7.ln_1.bias", torch.zeros(32), r"tensor h\.7\.ln_1\.bias: expected no such tensor"),
        ("lm_head.weight", torch.zeros(300, 32), r"tensor lm_head\.weight: expected wte\.weight again"),
    ],
)
def test_tensors_that_are_wrong(folder, name, values, message) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    full = name if name.startswith("lm_head") else f"transformer.{name}"
    tensors.pop(full, None)
    save_file(tensors if values is None else tensors | {full: values}, path)
    with pytest.raises(InputError, match=rf"model\.safetensors: .*{message}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (torch.float32, torch.nan),
        (torch.float32, torch.inf),
        (torch.bfloat16, -torch.inf),
        (torch.float16, torch.nan),
        (torch.float64, 1e300),
    ],
)
def test_a_value_that_is_no_float32_number(folder, dtype, value) -> None:
    path = folder / "model.safetensors"
    tensors = {name: values.to(dtype) for name, values in load_file(path).items()}
    tensors["transformer.wte.weight"][5, 3] = value
    save_file(tensors, path)
    with pytest.raises(InputError, match=r"safetensors: tensor wte\.weight: expected finite values, found some from"):
        load_model(folder)


def test_a_damaged_file(folder) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    damaged = [whole[:n] for n in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1)]
    damaged += [b"\xff" * 8 + whole[8:], (2**40).to_bytes(8, "little") + whole[8:], whole + b"x", b"<html>Not found"]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.safetensors: expected a whole safetensors file, found: ."):
            load_model(folder)
    path.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: file not found"):
        load_model(folder)


def test_no_folder(tmp_path) -> None:
    with pytest.raises(InputError, match=r"nowhere/config\.json: file not found"):
        load_model(tmp_path / "nowhere")
