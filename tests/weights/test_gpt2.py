"""From the publishers' files to a model folder, without a `GPTModel` in between."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model.config import GPT2_SIZES
from gpt_from_scratch.weights.gpt2 import convert_checkpoint, convert_huggingface
from gpt_from_scratch.weights.huggingface import load_config, load_facts, load_model, save_model
from gpt_from_scratch.weights.layout import gpt2_tensors, named_parameters
from gpt_from_scratch.weights.openai import read_checkpoint
from gpt_from_scratch.weights.openai_writer import write_checkpoint

FACTS = {"pretrained": "synthetic"}


def write(model, folder, tokenizer_folder) -> None:
    folder.mkdir()
    parameters = named_parameters(model)
    tensors = ((tensor, tensor.from_parameters(parameters).numpy()) for tensor in gpt2_tensors(model.config))
    write_checkpoint(folder, model.config, tensors, tokenizer_folder)


def folders(path, *names: str) -> list:
    for name in names:
        (path / name).mkdir()
    return [path / name for name in names]


@torch.no_grad()
@pytest.mark.parametrize("size", GPT2_SIZES)
def test_a_converted_checkpoint_in_transformers(tmp_path, random_model, tokenizer_folder, ids, size) -> None:
    published = GPT2_SIZES[size]
    model = random_model(emb_dim=published.emb_dim, n_heads=published.n_heads, n_layers=1)
    write(model, tmp_path / "checkpoint", tokenizer_folder)
    (destination,) = folders(tmp_path, "model")
    convert_checkpoint(tmp_path / "checkpoint", destination, facts=FACTS)
    expected = model(ids)
    assert torch.allclose(load_model(destination)(ids), expected, rtol=0.0, atol=1e-4)
    assert torch.allclose(
        GPT2LMHeadModel.from_pretrained(destination).eval()(ids).logits, expected, rtol=0.0, atol=1e-4
    )


def test_converting_equals_reading_and_saving(tmp_path, random_model, tokenizer_folder) -> None:
    write(random_model(), tmp_path / "checkpoint", tokenizer_folder)
    converted, saved = folders(tmp_path, "converted", "saved")
    convert_checkpoint(tmp_path / "checkpoint", converted, tokenizer_folder, FACTS)
    save_model(read_checkpoint(tmp_path / "checkpoint"), saved, tmp_path / "checkpoint", FACTS)
    assert sorted(path.name for path in converted.iterdir()) == sorted(path.name for path in saved.iterdir())
    for path in converted.iterdir():
        assert sha256(path) == sha256(saved / path.name), path.name
    assert load_facts(converted) == FACTS


def test_a_folder_as_hugging_face_publishes_it(tmp_path, random_model, tokenizer_folder, ids) -> None:
    published, destination = folders(tmp_path, "published", "model")
    model = random_model()
    save_model(model, published, tokenizer_folder)
    content = json.loads((published / "config.json").read_text())
    (published / "config.json").write_text(
        json.dumps(
            {key: value for key, value in content.items() if key not in ("gpt_from_scratch", "tie_word_embeddings")}
        )
    )
    tensors = {n.removeprefix("transformer."): v.half() for n, v in load_file(published / "model.safetensors").items()}
    tensors |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 16, 16).tril() for layer in range(2)}
    save_file(tensors, published / "model.safetensors")
    for name in ("tokenizer_config.json", "generation_config.json"):
        (published / name).unlink()
    convert_huggingface(published, destination, {"pretrained": "huggingface"})
    assert load_config(destination) == model.config
    assert load_facts(destination) == {"pretrained": "huggingface"}
    written = load_file(destination / "model.safetensors")
    assert {values.dtype for values in written.values()} == {torch.float32}
    assert not [name for name in written if name.endswith(".attn.bias")]
    with torch.no_grad():
        assert torch.allclose(load_model(destination)(ids), load_model(published)(ids), rtol=0.0, atol=1e-6)


def test_a_checkpoint_without_a_tokenizer(tmp_path, random_model, tokenizer_folder) -> None:
    write(random_model(), tmp_path / "checkpoint", tokenizer_folder)
    (destination,) = folders(tmp_path, "model")
    (tmp_path / "checkpoint/vocab.bpe").unlink()
    with pytest.raises(InputError, match="checkpoint: no tokenizer here"):
        convert_checkpoint(tmp_path / "checkpoint", destination)
    shutil.rmtree(tmp_path / "checkpoint")
    with pytest.raises(InputError, match=r"hparams\.json: file not found"):
        convert_checkpoint(tmp_path / "checkpoint", destination, tokenizer_folder)
