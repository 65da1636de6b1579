"""A GPT-2 of anyone's as the base: `source: path`, with models that `transformers` wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from gpt_from_scratch.data.fetch.download import Downloads
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.bases import provide_bases
from gpt_from_scratch.weights.huggingface import load_facts, load_model


@pytest.fixture(scope="module")
def bpe(root) -> Path:
    return root / "data/sample/bpe"


@pytest.fixture
def theirs() -> Callable[..., GPT2LMHeadModel]:
    """Makes a random model of `transformers` in which norms and biases are random too."""

    def make(**changes: object) -> GPT2LMHeadModel:
        shape = {"vocab_size": 1536, "n_positions": 24, "n_embd": 32, "n_head": 4, "n_layer": 3}
        ends = {"bos_token_id": 1535, "eos_token_id": 1535}
        torch.manual_seed(5)
        model = GPT2LMHeadModel(GPT2Config(**{**shape, **ends, **changes}))
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        return model.eval()

    return make


@pytest.fixture
def provide(root, tmp_path) -> Callable[[Path], Path]:
    """Runs the stage's own function with a base folder; returns the model folder that it made."""
    raw = tmp_path / "data/raw"
    shutil.copytree(root / "data/sample/bpe", raw / "bpe")
    hashes = {f"bpe/{name}": sha256(raw / "bpe" / name) for name in ("encoder.json", "vocab.bpe")}
    (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))
    values = load_params(root / "profiles/quick.yaml").model_dump()
    for section in ("classify", "instruct"):
        values[section]["base"] = "gpt2/custom"
    values["download_gpt2"] |= {"source": "path", "path": "data/bases/mine", "sizes": ["custom"]}

    def run() -> Path:
        provide_bases(Params.model_validate(values), tmp_path, Downloads(tmp_path))
        return tmp_path / "models/gpt2/custom"

    return run


@pytest.fixture
def mine(tmp_path) -> Path:
    return tmp_path / "data/bases/mine"


@torch.no_grad()
def same_logits(folder: Path, model: GPT2LMHeadModel) -> bool:
    ids = torch.randint(0, 1536, (2, 20), generator=torch.Generator().manual_seed(3))
    return torch.allclose(load_model(folder)(ids), model.float()(ids).logits, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shard", ["1GB", "100KB"])
def test_what_transformers_saved_is_the_base(theirs, provide, mine, bpe, tied, shard) -> None:
    model = theirs(tie_word_embeddings=tied)
    model.save_pretrained(mine, max_shard_size=shard)
    assert (mine / "model.safetensors.index.json").exists() == (shard == "100KB")
    folder = provide()
    assert same_logits(folder, model)
    assert load_facts(folder) == {"pretrained": "path"}
    # The folder came without a tokenizer, and GPT-2's as fetched has as many tokens.
    assert load_tokenizer(folder).encode("a light") == load_tokenizer(bpe).encode("a light")
    # The written folder is a whole one for transformers too.
    assert same_logits(folder, GPT2LMHeadModel.from_pretrained(folder).eval())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(theirs, provide, mine, dtype) -> None:
    model = theirs().to(dtype)
    model.save_pretrained(mine)
    assert load_file(mine / "model.safetensors")["transformer.wte.weight"].dtype == dtype
    folder = provide()
    assert {values.dtype for values in load_file(folder / "model.safetensors").values()} == {torch.float32}
    assert same_logits(folder, model)


def test_names_without_the_prefix(theirs, provide, mine) -> None:
    model = theirs()
    model.save_pretrained(mine)
    file = mine / "model.safetensors"
    save_file({name.removeprefix("transformer."): values for name, values in load_file(file).items()}, file)
    assert same_logits(provide(), model)


def test_a_tokenizer_in_one_file(theirs, provide, mine, bpe, tmp_path) -> None:
    theirs().save_pretrained(mine)
    for ours, name in (("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")):
        shutil.copy(bpe / ours, tmp_path / name)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.save_pretrained(mine)
    assert {path.name for path in mine.glob("*.json")} >= {"tokenizer.json"}
    assert not (mine / "vocab.json").exists()
    text = "The keeper's light, naïve cafés 123"
    assert load_tokenizer(provide()).encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(normalizer={"type": "NFC"}), r"tokenizer\.json: normalizer: expected None"),
        (lambda c: c["pre_tokenizer"].update(add_prefix_space=True), "pre_tokenizer.add_prefix_space: expected False"),
        (lambda c: c["model"].update(type="WordPiece"), "model.type: expected BPE, .*found 'WordPiece'"),
        (lambda c: c["added_tokens"].append({"id": 1536, "content": "<pad>"}), "1537 tokens: expected at most .* 1536"),
        (lambda c: c["added_tokens"].append({"id": 7, "content": "<pad>"}), "'<pad>': expected an id of its own"),
        (lambda c: c["added_tokens"].append({"id": "7", "content": "<pad>"}), "added token.id: .*found '7'"),
        (lambda c: c.pop("model"), "model: expected a JSON object, found None"),
    ],
)
def test_another_kind_of_tokenizer_is_refused(theirs, provide, mine, bpe, root, tmp_path, change, message) -> None:
    theirs().save_pretrained(mine)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    for ours, name in (("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")):
        shutil.copy(bpe / ours, tmp_path / name)
    AutoTokenizer.from_pretrained(tmp_path).save_pretrained(mine)
    content = json.loads((mine / "tokenizer.json").read_text())
    change(content)
    (mine / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        provide()


def test_without_a_tokenizer_and_of_another_size(theirs, provide, mine) -> None:
    theirs(vocab_size=1600).save_pretrained(mine)
    with pytest.raises(InputError, match=r"mine: expected a tokenizer .*bpe has 1536 tokens and the model 1600"):
        provide()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "relu"}, "activation_function: expected 'gelu_new', found 'relu'"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon: expected 1e-05, found 1e-06"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: expected False"),
        ({"scale_attn_weights": False}, "scale_attn_weights: expected True"),
        ({"n_inner": 64}, "n_inner: expected null or 128, found 64"),
        ({"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn: expected none, found True"),
        ({"add_cross_attention": True}, "add_cross_attention: expected False"),
        ({"quantization_config": {"load_in_8bit": True}}, "quantization_config: expected none"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map: expected none"),
    ],
)
def test_what_our_model_does_not_compute_is_refused_by_name(theirs, provide, mine, changes, message) -> None:
    theirs().save_pretrained(mine)
    content = json.loads((mine / "config.json").read_text())
    (mine / "config.json").write_text(json.dumps(content | changes))
    with pytest.raises(InputError, match=rf"mine/config\.json: {message}"):
        provide()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(weight_map={}), "expected a weight_map"),
        (lambda c: c["weight_map"].update({"transformer.wte.weight": "../x.safetensors"}), "expected a .* file here"),
        (lambda c: c["weight_map"].update({"transformer.wte.weight": 7}), "expected a .safetensors file here, found 7"),
        (lambda c: c["weight_map"].update({"transformer.wte.weight": "no.safetensors"}), "file not found"),
        (lambda c: c["weight_map"].pop("transformer.ln_f.bias"), "ln_f.bias: the index says none, found one"),
        (lambda c: c["weight_map"].update({"x": c["weight_map"]["transformer.wte.weight"]}), "x: .*says one, found no"),
    ],
)
def test_an_index_that_does_not_fit_its_files(theirs, provide, mine, change, message) -> None:
    theirs().save_pretrained(mine, max_shard_size="100KB")
    path = mine / "model.safetensors.index.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        provide()
    assert "\n" not in str(caught.value)


def test_no_such_folder(provide) -> None:
    with pytest.raises(InputError, match=r"data/bases/mine/config\.json: file not found"):
        provide()
