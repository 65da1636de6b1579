"""Model folders made to do harm: safetensors and settings that lie are refused in one line."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusal import refused
from safetensors.torch import load_file, save_file

from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.huggingface import load_model, save_model
from gpt_from_scratch.weights.openai import read_hparams


@pytest.fixture(scope="module")
def saved(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = root / "data/sample/bpe"
    torch.manual_seed(1)
    cfg = GPTConfig(load_tokenizer(tokenizer).n_vocab, 16, 8, 2, 1, tie_weights=True)
    save_model(GPTModel(cfg), folder, tokenizer)
    return folder


@pytest.fixture
def model(saved, tmp_path) -> Path:
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def header(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Return what writes the file anew with a changed header."""

    def write(content: bytes) -> bytes:
        header, data = parts(content)
        return joined(change(header) or header, data)

    return write


WTE, NORM = "transformer.wte.weight", "transformer.ln_f.bias"


def tensor(field: str, value: object) -> Callable[[bytes], bytes]:
    return header(lambda header: header[NORM].update({field: value}))


def moved(by: int) -> Callable[[bytes], bytes]:
    return header(lambda h: h[NORM].update(data_offsets=[place + by for place in h[NORM]["data_offsets"]]))


def twice(content: bytes) -> bytes:
    header, data = parts(content)
    text = json.dumps(header)
    return joined(f"{text[:-1]}, {json.dumps(NORM)}: {json.dumps(header[NORM])}}}".encode(), data)


WHOLE = "expected a whole safetensors file, found: "


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda content: b"", WHOLE),
        (lambda content: content[:7], WHOLE),
        (lambda content: content[:-1], WHOLE),
        (lambda content: content + b"\0", WHOLE),
        (lambda content: struct.pack("<Q", 2**63) + content[8:], WHOLE),
        (lambda content: struct.pack("<Q", 2**64 - 1) + content[8:], WHOLE),
        (lambda content: struct.pack("<Q", 2**40) + content[8:], WHOLE),
        (lambda content: struct.pack("<Q", 0) + content[8:], WHOLE),
        (lambda content: joined(b" " * 2**25, b""), "expected a header of at most 16,777,216 bytes, found 33,554,432"),
        (lambda content: joined(b"\x80\x04cposix\nsystem\n.", b""), "header, line 1, column 1: not valid JSON"),
        (lambda content: joined(b"[" * 100_000, b""), "header: not usable JSON: .* nested too deeply"),
        (lambda content: joined(b"[]", b""), WHOLE),
        (lambda content: joined(b'{"a": NaN}', b""), "header: expected finite numbers"),
        (lambda content: joined(b'{"\xff": 1}', b""), WHOLE),
        (twice, r"header: expected every key once in its object, found 'transformer\.ln_f\.bias' again"),
        (header(lambda header: {**header, "ln_f.bias": header[NORM]}), f"{WHOLE}.*offset"),
        (header(lambda header: {**header, "x": header[NORM]}), f"{WHOLE}.*offset"),
        (header(lambda header: {k: v for k, v in header.items() if k != NORM}), WHOLE),
        (moved(-4), f"{WHOLE}.*offset"),
        (moved(2**40), WHOLE),
        (tensor("data_offsets", [-32, 0]), WHOLE),
        (tensor("data_offsets", [32, 0]), WHOLE),
        (tensor("data_offsets", [0, 2**64]), WHOLE),
        (tensor("data_offsets", [0.0, 32.0]), WHOLE),
        (tensor("shape", [2**62, 4]), WHOLE),
        (tensor("shape", [10**12]), WHOLE),
        (tensor("shape", [-8]), WHOLE),
        (tensor("shape", [4, 2]), r"tensor ln_f\.bias: expected shape \[8\], found \[4, 2\]"),
        (tensor("shape", [1] * 5000 + [8]), r"expected shape \[8\], found \[1, 1, 1, 1, \.\.\.\]"),
        (tensor("dtype", "F99"), WHOLE),
        (tensor("dtype", "I32"), "expected a type of F32, F16, BF16, F64, found I32"),
        (tensor("dtype", ["F32"]), WHOLE),
        (header(lambda header: {**header, "__metadata__": {"format": ["pt"]}}), WHOLE),
        (header(lambda header: {**header, "__metadata__": "x" * 10**6}), WHOLE),
    ],
)
def test_safetensors(model, write, complaint) -> None:
    path = model / "model.safetensors"
    path.write_bytes(write(path.read_bytes()))
    with refused(path, complaint):
        load_model(model)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "x" * 10**6, "a\0b", "\x1b[2J\n", "h.0.attn.bias.x"])
def test_names_of_no_tensor(model, name) -> None:
    path = model / "model.safetensors"
    save_file({**load_file(path), name: torch.zeros(1)}, path)
    with refused(path, "expected no such tensor in this model"):
        load_model(model)


def test_one_tensor_with_and_without_its_prefix(model) -> None:
    path = model / "model.safetensors"
    save_file({**load_file(path), "ln_f.bias": torch.full((8,), 9.0)}, path)
    with refused(path, r"tensor ln_f\.bias: expected one of this name, found two"):
        load_model(model)


@pytest.mark.parametrize("key", ["vocab_size", "n_positions", "n_embd", "n_head", "n_layer"])
@pytest.mark.parametrize("value", [10**12, 2**63, 10**400, -1, 0, True, 2.0, "12", None, [1], {"a": 1}])
def test_a_config_that_lies(model, key, value) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    complaint = r"expected a whole number|must be at least 1|must be divisible|expected shape|n_inner: expected"
    with refused(model, complaint):
        load_model(model)


@pytest.mark.parametrize("value", ["NaN", "-1", "1.0", "true", '"0.1"', "[]"])
def test_a_dropout_that_is_none(model, value) -> None:
    path = model / "config.json"
    path.write_text(re.sub(r'"resid_pdrop": [0-9.]+', f'"resid_pdrop": {value}', path.read_text()))
    with refused(path, "resid_pdrop: expected a number from 0 to below 1, found |expected finite numbers"):
        load_model(model)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "hparams.json"])
def test_a_model_folder_with_a_pipe(model, name) -> None:
    (model / name).unlink(missing_ok=True)
    os.mkfifo(model / name)
    with refused(model / name, "file not found|expected a file, found a folder, pipe or device"):
        (read_hparams if name == "hparams.json" else load_model)(model)
