"""OpenAI's weights by the chapter's functions, next to the reference's, on a small checkpoint in OpenAI's format."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import requests
import torch

from gpt_from_scratch.book import ch04, ch05
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTConfig

pytest.importorskip("llms_from_scratch")
from llms_from_scratch import ch04 as theirs_04
from llms_from_scratch import ch05 as theirs_05

IDS = torch.tensor([[15, 11, 31, 71], [61, 36, 200, 34]])


@pytest.fixture
def cfg(small):
    return {**small, "drop_rate": 0.0, "qkv_bias": True}


@pytest.fixture
def params():
    """Random weights of the small model, as `download_and_load_gpt2` returns them."""
    random = np.random.default_rng(0)

    def array(*shape):
        return random.normal(0, 0.3, shape).astype("float32")

    def projection(inputs, outputs):
        return {"w": array(inputs, outputs), "b": array(outputs)}

    def norm():
        return {"g": array(16), "b": array(16)}

    blocks = [
        {
            "attn": {"c_attn": projection(16, 48), "c_proj": projection(16, 16)},
            "mlp": {"c_fc": projection(16, 64), "c_proj": projection(64, 16)},
            "ln_1": norm(),
            "ln_2": norm(),
        }
        for _ in range(2)
    ]
    return {"wte": array(256, 16), "wpe": array(32, 16), **norm(), "blocks": blocks}


def test_weights_land_where_the_reference_puts_them(cfg, params):
    ours, theirs = ch04.GPTModel(cfg).eval(), theirs_04.GPTModel(cfg).eval()
    ch05.load_weights_into_gpt(ours, params)
    theirs_05.load_weights_into_gpt(theirs, params)
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, theirs.state_dict()[name]), name
    torch.testing.assert_close(ours(IDS), theirs(IDS), atol=1e-5, rtol=1e-5)
    assert ours.out_head.weight is not ours.tok_emb.weight


def test_a_tied_head_stays_tied(cfg, params):
    model = ch04.GPTModel({**cfg, "tie_weights": True})
    optimized = list(model.parameters())
    ch05.load_weights_into_gpt(model, params)
    assert model.out_head.weight is model.tok_emb.weight
    assert all(left is right for left, right in zip(optimized, model.parameters(), strict=True))


def test_a_model_of_another_class_will_do(cfg, params):
    theirs = theirs_04.GPTModel(cfg).eval()
    ch05.load_weights_into_gpt(theirs, params)
    ours = ch04.GPTModel(cfg).eval()
    ch05.load_weights_into_gpt(ours, params)
    torch.testing.assert_close(ours(IDS), theirs(IDS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qkv_bias": False}, r"trf_blocks\.0\.att\.W_query\.bias"),
        ({"n_layers": 3}, r"transformer blocks: expected shape \[3\], found \[2\]"),
        ({"n_layers": 1}, "transformer blocks"),
        ({"context_length": 16}, r"pos_emb\.weight: expected shape \[16, 16\], found \[32, 16\]"),
        ({"emb_dim": 32}, r"tok_emb\.weight"),
    ],
)
def test_a_model_of_another_shape_is_refused_untouched(cfg, params, change, message):
    model = ch04.GPTModel({**cfg, **change})
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        ch05.load_weights_into_gpt(model, params)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_misshapen_array_is_named(cfg, params):
    params["blocks"][1]["mlp"]["c_fc"]["w"] = np.zeros((16, 63), "float32")
    with pytest.raises(ValueError, match=r"model/h1/mlp/c_fc/w: expected shape \[16, 64\], found \[16, 63\]"):
        ch05.load_weights_into_gpt(ch04.GPTModel(cfg), params)


def test_a_classifiers_head_is_refused(cfg, params):
    model = ch04.GPTModel(cfg)
    model.out_head = torch.nn.Linear(16, 2)
    with pytest.raises(ValueError, match="out_head"):
        ch05.load_weights_into_gpt(model, params)


def test_assign():
    assert torch.equal(ch05.assign(torch.zeros(2, 3), np.ones((2, 3), "float32")), torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"expected shape \[2, 3\], found \[3, 2\]"):
        ch05.assign(torch.zeros(2, 3), np.ones((3, 2)))


def test_an_unknown_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="124M, 355M, 774M, 1558M"):
        ch05.download_and_load_gpt2("117M", tmp_path)


@pytest.fixture
def checkpoint(cfg, params, tmp_path, mirror):
    """The weights as OpenAI publishes a size of which no hash is known, with GPT-2's own tokenizer."""
    if find_spec("tensorflow") is None:
        pytest.skip("could not import 'tensorflow'")
    from gpt_from_scratch.weights.layout import gpt2_tensors
    from gpt_from_scratch.weights.openai_writer import write_checkpoint

    arrays = {"model/wte": params["wte"], "model/wpe": params["wpe"]}
    arrays |= {f"model/ln_f/{key}": params[key] for key in "gb"}
    for number, block in enumerate(params["blocks"]):
        for first, rest in block.items():
            for second, value in rest.items():
                leaves = value if isinstance(value, dict) else {None: value}
                for third, leaf in leaves.items():
                    arrays["/".join(filter(None, (f"model/h{number}", first, second, third)))] = leaf
    folder = tmp_path / "models/355M"
    folder.mkdir(parents=True)
    shape = GPTConfig.of(cfg)
    tensors = [(tensor, arrays[tensor.openai]) for tensor in gpt2_tensors(shape)]
    write_checkpoint(folder, shape, tensors, mirror / "gpt2/124M")
    for name in ("checkpoint", "encoder.json", "vocab.bpe"):
        shutil.copyfile(mirror / "gpt2/124M" / name, folder / name)
    return folder


def test_a_checkpoint_that_is_there_is_read_as_the_reference_reads_it(checkpoint, params, monkeypatch):
    monkeypatch.setenv("GPT_MIRROR", str(checkpoint / "nowhere"))
    monkeypatch.setattr("requests.get", lambda *_, **__: pytest.fail("downloads"))
    settings, found = ch05.download_and_load_gpt2("355M", str(checkpoint.parent))
    assert settings["n_layer"] == 2
    expected = theirs_05.load_gpt2_params_from_tf_ckpt(str(checkpoint / "model.ckpt"), settings)
    assert_same(found, expected)
    assert_same(found, params)


def assert_same(left, right):
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(left, right)


def test_what_cannot_be_had_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GPT_MIRROR", str(tmp_path / "nowhere"))

    def away(*_, **__):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr("requests.get", away)
    with pytest.raises(InputError, match="checkpoint: could not be fetched"):
        ch05.download_and_load_gpt2("124M", tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {".checkpoint.lock"}
