"""OpenAI's TensorFlow format: against the book's own reader, and every kind of damage."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.config import GPT2_SIZES
from gpt_from_scratch.weights.layout import gpt2_tensors, named_parameters
from gpt_from_scratch.weights.openai import check_tensors, read_checkpoint, read_hparams, read_tensors
from gpt_from_scratch.weights.openai_entry import IndexEntry
from gpt_from_scratch.weights.openai_writer import import_tensorflow, write_checkpoint

DATA = "model.ckpt.data-00000-of-00001"


def write(model, folder, tokenizer_folder) -> None:
    folder.mkdir()
    parameters = named_parameters(model)
    tensors = ((tensor, tensor.from_parameters(parameters).numpy()) for tensor in gpt2_tensors(model.config))
    write_checkpoint(folder, model.config, tensors, tokenizer_folder)


@pytest.fixture(scope="module")
def original(tmp_path_factory, random_model, tokenizer_folder) -> Path:
    folder = tmp_path_factory.mktemp("openai") / "checkpoint"
    write(random_model(), folder, tokenizer_folder)
    return folder


@pytest.fixture
def checkpoint(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "checkpoint"))


@torch.no_grad()
@pytest.mark.parametrize("size", [None, *GPT2_SIZES])
def test_the_books_reader_gives_the_same_logits(tmp_path, random_model, tokenizer_folder, ids, size) -> None:
    reference = pytest.importorskip("llms_from_scratch.ch05")
    from llms_from_scratch.ch04 import GPTModel

    shape = {"emb_dim": GPT2_SIZES[size].emb_dim, "n_heads": GPT2_SIZES[size].n_heads, "n_layers": 1} if size else {}
    model = random_model(**shape)
    write(model, tmp_path / "checkpoint", tokenizer_folder)
    settings = json.loads((tmp_path / "checkpoint/hparams.json").read_text())
    path = import_tensorflow().train.latest_checkpoint(str(tmp_path / "checkpoint"))
    params = reference.load_gpt2_params_from_tf_ckpt(path, settings)
    names = ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers", "drop_rate", "qkv_bias")
    theirs = GPTModel({name: getattr(model.config, name) for name in names})
    reference.load_weights_into_gpt(theirs, params)
    ours = read_checkpoint(tmp_path / "checkpoint")
    assert not ours.training
    assert ours.out_head.weight is ours.tok_emb.weight
    # The weights are the very same; logits of this size carry a rounding error of their own.
    expected = theirs.eval()(ids)
    assert (ours(ids) - expected).abs().max() <= 1e-5 * max(1.0, expected.abs().max().item())
    for name, values in theirs.state_dict().items():
        if not name.endswith("mask"):
            assert torch.equal(ours.state_dict()[name], values), name


def test_the_files_are_openais(original, mirror) -> None:
    files = {"checkpoint", "encoder.json", "hparams.json", DATA, "model.ckpt.index", "vocab.bpe"}
    assert {path.name for path in original.iterdir()} == files
    assert (original / "checkpoint").read_bytes() == (mirror / "gpt2/124M/checkpoint").read_bytes()
    assert read_hparams(mirror / "gpt2/124M") == GPT2_SIZES["124M"]


def test_the_official_index_passes_the_check(mirror) -> None:
    index = json.loads((mirror / "gpt2/124M-tensor-index.json").read_text(encoding="utf-8"))
    entries = {name: IndexEntry("float32", tuple(entry["shape"]), 0, 0, 0, True) for name, entry in index.items()}
    check_tensors("index", gpt2_tensors(GPT2_SIZES["124M"]), entries)
    name = "model/h3/attn/c_attn/w"
    entries[name] = replace(entries[name], shape=(1, 768, 2303))
    message = rf"index: tensor {name}: expected float32 of shape \[1, 768, 2304\], found .*2303\]"
    with pytest.raises(InputError, match=message):
        check_tensors("index", gpt2_tensors(GPT2_SIZES["124M"]), entries)


def test_an_index_without_its_data(checkpoint, mirror) -> None:
    (checkpoint / DATA).unlink()
    with pytest.raises(InputError, match=rf"{DATA}: file not found"):
        read_checkpoint(checkpoint)
    (checkpoint / "model.ckpt.index").unlink()
    with pytest.raises(InputError, match=r"model\.ckpt\.index: file not found"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": "gone"}, "expected the keys n_vocab, n_ctx, n_embd, n_head, n_layer, found n_vocab, n_ctx"),
        ({"n_inner": 3}, "expected the keys"),
        ({"n_ctx": 16.0}, r"n_ctx: expected a whole number, found 16\.0"),
        ({"n_head": True}, "n_head: expected a whole number, found True"),
        ({"n_head": 3}, "emb_dim must be divisible by n_heads, found 32 and 3"),
        ({"n_layer": 0}, "n_layers must be at least 1, found 0"),
    ],
)
def test_hparams_that_are_wrong(checkpoint, changes, message) -> None:
    change_hparams(checkpoint, changes)
    with pytest.raises(InputError, match=rf"hparams\.json: .*{message}"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"n_vocab": 301},
            r"tensor model/wte: expected float32 of shape \[301, 32\], found float32 of shape \[300, 32\]",
        ),
        ({"n_ctx": 8}, r"tensor model/wpe: expected float32 of shape \[8, 32\]"),
        ({"n_layer": 1}, "tensor model/h1/attn/c_attn/b: expected no such tensor in a model of these hparams"),
        ({"n_layer": 10**12}, r"tensor model/h2/ln_1/g: expected shape \[32\], found no such tensor"),
        ({"n_embd": 4 * 10**12}, r"tensor model/wte: expected float32 of shape \[300, 4000000000000\]"),
    ],
)
def test_hparams_that_do_not_fit_the_tensors(checkpoint, changes, message) -> None:
    change_hparams(checkpoint, changes)
    with pytest.raises(InputError, match=rf"model\.ckpt\.index: {message}"):
        read_checkpoint(checkpoint)


def change_hparams(folder, changes) -> None:
    path = folder / "hparams.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "gone"}))


def test_a_type_that_is_wrong(tmp_path, random_model, tokenizer_folder) -> None:
    model = random_model().half()
    parameters = named_parameters(model)
    tensors = [(t, t.from_parameters(parameters).numpy()) for t in gpt2_tensors(model.config)]
    tensors[0] = (tensors[0][0], tensors[0][1].astype(np.float16))
    tmp_path.joinpath("half").mkdir()
    write_checkpoint(tmp_path / "half", model.config, tensors, tokenizer_folder)
    with pytest.raises(InputError, match=r"tensor model/wte: expected float32 of shape .* found float16 of shape"):
        read_checkpoint(tmp_path / "half")


def outcome(folder, expected) -> str:
    try:
        found = {tensor.openai: stored for tensor, stored in read_tensors(folder)}
    except InputError as error:
        message = str(error)
        assert message.startswith(f"{folder}/model.ckpt.")
        assert "\n" not in message
        return "refused"
    return "same" if all(torch.equal(found[name], values) for name, values in expected.items()) else "wrong"


@pytest.mark.parametrize("name", ["model.ckpt.index", DATA])
def test_no_flipped_byte_and_no_cut_goes_unnoticed(checkpoint, name) -> None:
    expected = {tensor.openai: stored.clone() for tensor, stored in read_tensors(checkpoint)}
    path = checkpoint / name
    whole = path.read_bytes()
    places = random.Random(1).sample(range(len(whole)), 150)
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        # A few bytes of the index are padding.
        assert outcome(checkpoint, expected) in (("refused", "same") if name != DATA else ("refused",)), place
    for length in (0, 1, len(whole) - 1, *places[:20]):
        path.write_bytes(whole[:length])
        assert outcome(checkpoint, expected) == "refused", length
    path.write_bytes(whole)
    assert outcome(checkpoint, expected) == "same"


def test_reading_needs_no_tensorflow_and_writing_says_so(original, monkeypatch, tmp_path, tokenizer_folder) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    cfg = read_checkpoint(original).config
    with pytest.raises(InputError, match=r"TensorFlow: expected it installed .* set download_gpt2\.source to openai"):
        write_checkpoint(tmp_path, cfg, [], tokenizer_folder)


def test_tensorflow_comes_without_keras_and_leaves_the_choice_as_it_was(monkeypatch):
    code = (
        "import os, sys; from gpt_from_scratch.weights.openai_writer import import_tensorflow; import_tensorflow();"
        "print({'keras.src', 'sklearn', 'matplotlib'} & sys.modules.keys(), os.environ.get('TF_USE_LEGACY_KERAS'))"
    )
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set() None\n"


MEASURE = """
import re, sys
from pathlib import Path
from gpt_from_scratch.weights.gpt2 import convert_checkpoint
from gpt_from_scratch.weights.openai import read_checkpoint

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

before, checkpoint = peak(), Path(sys.argv[1])
if sys.argv[2] == "read":
    model = read_checkpoint(checkpoint)
else:
    convert_checkpoint(checkpoint, checkpoint.with_name("model"))
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory from /proc")
def test_memory_grows_by_little_more_than_the_checkpoint(tmp_path, random_model, tokenizer_folder, root):
    # 200 MB: enough for the checkpoint to outweigh what PyTorch loads on first use.
    write(random_model(emb_dim=1024, n_heads=16, n_layers=4), tmp_path / "checkpoint", tokenizer_folder)
    (tmp_path / "model").mkdir()
    # Else glibc keeps some freed tensors, now more and now fewer, between others on its heap.
    environment = {"PYTHONPATH": str(root / "src"), "MALLOC_MMAP_THRESHOLD_": "1048576"}
    for action in ("read", "convert"):
        command = [sys.executable, "-c", MEASURE, str(tmp_path / "checkpoint"), action]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        ratio = int(run.stdout) / (tmp_path / "checkpoint" / DATA).stat().st_size
        assert 0.9 < ratio <= 1.3, action
