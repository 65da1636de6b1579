"""The book's `.pth` files: read as the book reads them, and nothing but tensors."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.weights.pth import load_pth

SHAPE = {"vocab_size": 300, "context_length": 16, "emb_dim": 32, "n_heads": 4, "n_layers": 2}
CFG = GPTConfig(**SHAPE, drop_rate=0.1, qkv_bias=True)


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    ch04 = pytest.importorskip("llms_from_scratch.ch04")
    torch.manual_seed(1)
    return ch04.GPTModel({**SHAPE, "drop_rate": 0.1, "qkv_bias": True}).eval()


@pytest.fixture
def path(tmp_path, reference) -> Path:
    torch.save(reference.state_dict(), tmp_path / "model.pth")
    return tmp_path / "model.pth"


@pytest.fixture
def state(reference) -> OrderedDict:
    return OrderedDict((name, values.clone()) for name, values in reference.state_dict().items())


@torch.no_grad()
def test_what_the_book_saves(path, reference, ids) -> None:
    model = load_pth(path, CFG)
    assert not model.training
    assert "trf_blocks.0.att.mask" in reference.state_dict()
    torch.testing.assert_close(model(ids), reference(ids), atol=1e-5, rtol=1e-5)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_with_an_optimizers_state_beside(path, reference) -> None:
    optimizer = torch.optim.AdamW(reference.parameters(), lr=4e-4, weight_decay=0.1)
    reference(torch.arange(8)[None]).sum().backward()
    optimizer.step()
    torch.save({"model_state_dict": reference.state_dict(), "optimizer_state_dict": optimizer.state_dict()}, path)
    state = load_pth(path, CFG).state_dict()
    assert all(torch.equal(values, reference.state_dict()[name]) for name, values in state.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(path, state, dtype) -> None:
    torch.save({name: values.to(dtype) for name, values in state.items()}, path)
    assert torch.equal(load_pth(path, CFG).tok_emb.weight, state["tok_emb.weight"].to(dtype).float())


@torch.no_grad()
def test_chapter_6s_classifier(path, reference, state, ids) -> None:
    state["out_head.weight"], state["out_head.bias"] = torch.randn(2, 32), torch.randn(2)
    torch.save(state, path)
    model = load_pth(path, CFG, n_outputs=2)
    assert model(ids).shape == (2, 12, 2)
    assert torch.equal(model.out_head.bias, state["out_head.bias"])
    with pytest.raises(InputError, match=r"tensor out_head\.weight: expected shape \[300, 32\], found \[2, 32\]"):
        load_pth(path, CFG)


def test_a_tied_head(path, state) -> None:
    cfg = GPTConfig(**SHAPE, qkv_bias=True, tie_weights=True)
    with pytest.raises(InputError, match=r"tensor out_head\.weight: expected tok_emb\.weight again"):
        load_pth(path, cfg)
    state["out_head.weight"] = state["tok_emb.weight"]
    torch.save(state, path)
    model = load_pth(path, cfg)
    assert model.out_head.weight is model.tok_emb.weight
    untied = load_pth(path, CFG)
    assert untied.out_head.weight.data_ptr() != untied.tok_emb.weight.data_ptr()


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def change(name: str, values: object) -> Callable[[OrderedDict, Path], object]:
    return lambda state, _: {**state, name: values(state) if callable(values) else values}


def without(state: OrderedDict, name: str) -> dict:
    return {key: values for key, values in state.items() if key != name}


HEAD, NORM = "out_head.weight", "final_norm.scale"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (lambda state, path: {**state, "x": Trap(path)}, "expected tensors alone, found a reference to "),
        (lambda state, path: {"model_state_dict": state, "x": Trap(path)}, "expected tensors alone, found a reference"),
        (lambda state, path: Trap(path), "expected tensors alone, found a reference to "),
        (lambda state, path: nn.Linear(2, 2), r"found a reference to torch\.nn\.modules\.linear\.Linear"),
        (lambda state, path: {**state, NORM: bytearray(8)}, "found a reference to .*bytearray"),
        (lambda state, path: {**state, NORM: torch.zeros(32).to_sparse()}, "found a reference to .*sparse"),
        (lambda state, path: {**state, NORM: torch.zeros(32, device="meta")}, "found a reference to .*meta"),
        (lambda state, path: list(state.values()), "expected tensors by name, found list"),
        (lambda state, path: {"model_state_dict": [1]}, "expected tensors by name, found list"),
        (lambda state, path: {}, r"tensor tok_emb\.weight: expected shape \[300, 32\], found no such tensor"),
        (lambda state, path: without(state, NORM), r"final_norm\.scale: expected shape \[32\], found no such tensor"),
        (change(HEAD, torch.zeros(32, 300)), r"out_head\.weight: expected shape \[300, 32\], found \[32, 300\]"),
        (change(HEAD, torch.zeros(1).expand(10**6, 10**6)), r"expected shape \[300, 32\], found \[1000000, 1000000\]"),
        (change(HEAD, torch.zeros(300, 32, dtype=torch.int64)), "expected a type of float, found torch.int64"),
        (change(HEAD, "text"), "expected a tensor of plain values, found 'str'"),
        (change(NORM, torch.full((32,), torch.nan)), r"final_norm\.scale: expected finite values, found some from nan"),
        (change("trf_blocks.2.norm1.scale", torch.ones(32)), r"trf_blocks\.2\.norm1\.scale: expected no such tensor"),
        (change("../" * 500, torch.ones(1)), r"tensor \.\./.*: expected no such tensor in this model"),
        (change(7, torch.ones(1)), "tensor 7: expected no such tensor in this model"),
    ],
)
def test_other_content_is_refused_and_nothing_runs(tmp_path, state, content, complaint) -> None:
    path, trace = tmp_path / "model.pth", tmp_path / "trace"
    torch.save(content(state, trace), path)
    with pytest.raises(InputError, match=complaint) as caught:
        load_pth(path, CFG)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not trace.exists()


def rewritten(path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for member in old.infolist():
            new.writestr(member.filename, change(member.filename, old.read(member)))
    path.write_bytes(buffer.getvalue())


def test_an_archive_that_unpacks_to_more_than_its_size(path) -> None:
    zeros = bytes(50 * 2**20)
    rewritten(path, lambda name, values: zeros if name.endswith("/0") else values, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match="expected an archive without compression"):
        load_pth(path, CFG)


def test_a_tensor_with_fewer_values_than_it_says(path) -> None:
    rewritten(path, lambda name, values: values[:8] if name.endswith("/data/0") else values)
    with pytest.raises(InputError, match="expected a whole file of tensors, found: "):
        load_pth(path, CFG)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02}",
        b"cposix\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02]" + b"]" * 100_000 + b"a" * 100_000 + b".",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02ccollections\nOrderedDict\n)R}\x8c\x01ab.",
        bytes(range(256)) * 10,
    ],
)
def test_programs_that_are_no_tensors(path, program) -> None:
    rewritten(path, lambda name, values: program if name.endswith("data.pkl") else values)
    with pytest.raises(InputError, match=r"model\.pth: expected ") as caught:
        load_pth(path, CFG)
    assert "\n" not in str(caught.value)


def test_no_archive(tmp_path, state) -> None:
    path = tmp_path / "model.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes()
    for content in (b"", b"PK\x03\x04", old, pickle.dumps(Trap(tmp_path / "trace")), b"<html>Not found</html>"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.pth: expected a file of torch\.save, found: "):
            load_pth(path, CFG)
    assert not (tmp_path / "trace").exists()
    path.unlink()
    with pytest.raises(InputError, match="file not found"):
        load_pth(path, CFG)


def test_no_flipped_byte_gives_other_weights(path, reference) -> None:
    whole, expected = path.read_bytes(), reference.state_dict()
    offsets = random.Random(1).sample(range(len(whole)), 150)
    refused = 0
    for offset in offsets:
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x10]) + whole[offset + 1 :])
        try:
            found = load_pth(path, CFG).state_dict()
        except InputError:
            refused += 1
        else:
            assert all(torch.equal(values, expected[name]) for name, values in found.items()), offset
    assert refused > 100
    for length in (0, 1, len(whole) - 1, *offsets[:20]):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            load_pth(path, CFG)
