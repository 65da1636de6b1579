"""TensorFlow checkpoints made to do harm: refused in one line, and never by a crash of the process."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensor_index import growing_keys, table

from gpt_from_scratch.book.gpt_download import load_gpt2_params_from_tf_ckpt
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.openai import read_checkpoint
from gpt_from_scratch.weights.openai_index import read_table
from gpt_from_scratch.weights.synthetic import write_synthetic_checkpoint

INDEX, DATA = "model.ckpt.index", "model.ckpt.data-00000-of-00001"
FIRST = "model/h0/attn/c_attn/b"
HUGE = 10**12


@pytest.fixture(scope="module")
def original(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = root / "data/sample/bpe"
    cfg = GPTConfig(load_tokenizer(tokenizer).n_vocab, 16, 8, 2, 2, qkv_bias=True, tie_weights=True)
    write_synthetic_checkpoint(cfg, 1, folder, tokenizer)
    return folder


@pytest.fixture
def checkpoint(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "checkpoint"))


@pytest.fixture
def entries(original) -> dict[str, Any]:
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto

    content = dict(read_table((original / INDEX).read_bytes()))
    return {name.decode(): BundleEntryProto.FromString(value) for name, value in content.items() if name}


def header(shards: int = 1, endianness: int = 0) -> tuple[bytes, bytes]:
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleHeaderProto

    return b"", BundleHeaderProto(num_shards=shards, endianness=endianness, version={"producer": 1}).SerializeToString()


def written(entries: dict[str, Any], first: tuple[bytes, bytes] | None = None, **options: Any) -> bytes:
    pairs = {name.encode(): entry.SerializeToString() for name, entry in entries.items()}
    return table([first or header(), *sorted(pairs.items())], **options)


def read_as_the_book_does(checkpoint: Path) -> None:
    load_gpt2_params_from_tf_ckpt(checkpoint / "model.ckpt", {"n_layer": 2})


def refused(checkpoint: Path, complaint: str, *, by_hparams: bool = False) -> None:
    """Expect an error from both readers, or from the one that reads the hparams as well."""
    for read in [read_checkpoint] if by_hparams else [read_checkpoint, read_as_the_book_does]:
        with pytest.raises(InputError, match=complaint) as caught:
            read(checkpoint)
        message = str(caught.value)
        assert message.startswith(str(checkpoint))
        assert "\n" not in message
        assert len(message) < 700


def test_an_index_of_the_tests_own_is_as_good_as_tensorflows(checkpoint, original, entries) -> None:
    (checkpoint / INDEX).write_bytes(written(entries))
    expected = read_checkpoint(original).state_dict()
    assert all(torch.equal(values, expected[name]) for name, values in read_checkpoint(checkpoint).state_dict().items())


def dims(*sizes: int) -> Callable[[Any], None]:
    def change(entry: Any) -> None:
        del entry.shape.dim[:]
        for size in sizes:
            entry.shape.dim.add(size=size)

    return change


def field(name: str, value: int) -> Callable[[Any], None]:
    return lambda entry: setattr(entry, name, value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (dims(-24), r"tensor .*/b: expected float32 of shape \[24\], found float32 of shape \[-24\]"),
        (dims(2**62, 2**62), r"expected float32 of shape \[24\], found float32 of shape \[4611686018427387904, 46"),
        (dims(HUGE), r"found float32 of shape \[1000000000000\]"),
        (dims(*[1] * 300), r"found float32 of shape \[1, 1, 1, 1, \.\.\.\]"),
        (dims(), r"found float32 of shape \[\]"),
        (lambda entry: setattr(entry.shape, "unknown_rank", True), "expected 96 bytes in one piece"),
        (field("dtype", 999), "expected float32 of shape .*, found type 999 of shape"),
        (field("dtype", 0), "found type 0 of shape"),
        (field("dtype", 7), "found string of shape"),
        (field("dtype", 21), "found type 21 of shape"),
        (field("size", HUGE), "expected 96 bytes in one piece .* found 1000000000000 bytes from"),
        (field("size", -96), "found -96 bytes from"),
        (field("offset", -1), "found 96 bytes from -1 on"),
        (field("offset", 2**62), "found 96 bytes from 4611686018427387904 on"),
        (field("shard_id", 7), "expected 96 bytes in one piece"),
        (field("crc32c", 1), r"data-00000-of-00001: tensor model/h0/attn/c_attn/b: expected a whole .* [Cc]hecksum"),
        (lambda entry: entry.slices.add().extent.add(start=-7, length=2**62), "expected 96 bytes in one piece"),
    ],
)
def test_an_entry_that_lies(checkpoint, entries, change, complaint) -> None:
    change(entries[FIRST])
    (checkpoint / INDEX).write_bytes(written(entries))
    refused(checkpoint, complaint)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "model/\n\x1b[2J", "x" * 900, "model/wte "])
def test_a_name_that_belongs_to_no_tensor(checkpoint, entries, name) -> None:
    entries[name] = entries[FIRST]
    (checkpoint / INDEX).write_bytes(written(entries))
    refused(checkpoint, "expected no such tensor in a model of these hparams")


def test_a_name_in_place_of_another(checkpoint, entries) -> None:
    entries["../wpe"] = entries.pop("model/wpe")
    (checkpoint / INDEX).write_bytes(written(entries))
    refused(checkpoint, r"tensor model/wpe: expected shape \[16, 8\], found no such tensor", by_hparams=True)
    with pytest.raises(
        InputError, match=r"model\.ckpt\.index: expected a GPT-2, found: embeddings .* wpe of shape \[\]"
    ):
        read_as_the_book_does(checkpoint)


@pytest.mark.parametrize("blocks", [1, 3, 10**6])
def test_the_books_reader_holds_the_number_of_blocks(checkpoint, blocks) -> None:
    with pytest.raises(InputError, match=r"tensor model/h\d/\S+: expected (no such tensor|shape)"):
        load_gpt2_params_from_tf_ckpt(checkpoint / "model.ckpt", {"n_layer": blocks})


@pytest.mark.parametrize("name", [INDEX, DATA])
def test_a_file_that_is_not_there(checkpoint, name) -> None:
    (checkpoint / name).unlink()
    refused(checkpoint, rf"{name}: file not found")


BROKEN: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "two data files": lambda entries: written(entries, header(shards=2**31 - 1)),
    "no data file": lambda entries: written(entries, header(shards=-1)),
    "big-endian": lambda entries: written(entries, header(endianness=1)),
    "no header": lambda entries: written(entries, (b"\0", b"")),
    "no message": lambda entries: written(entries, (b"", b"\xff" * 30)),
    "no messages": lambda entries: table([header(), (b"a", b"\xff" * 30)]),
    "a name that is no text": lambda entries: table([header(), (b"\xff\xfe", b"")]),
    "a name twice": lambda entries: table([header(), (b"a", b""), (b"a", b"")]),
    "names out of order": lambda entries: table([header(), (b"b", b""), (b"a", b"")]),
    "another beginning": lambda entries: written(entries, restarts=(0, 5)),
    "a beginning outside": lambda entries: written(entries, restarts=(2**31,)),
    "no beginning": lambda entries: written(entries, restarts=()),
    "a block outside": lambda entries: written(entries, handles=[(2**62, 2**62)]),
    "a block without size": lambda entries: written(entries, handles=[(0, 0)]),
    "a block 200 times": lambda entries: written(entries, handles=[(0, 1000)] * 200),
    "a compressed block": lambda entries: written(entries, compression=1),
    "an unknown compression": lambda entries: written(entries, compression=77),
    "names without end": lambda entries: growing_keys(1500),
    "nothing": lambda entries: b"",
    "zeros": lambda entries: bytes(5000),
    "a footer alone": lambda entries: table([])[-48:],
    "a page": lambda entries: b"<!doctype html><html>Access denied</html>" * 100,
    "two megabytes": lambda entries: written(entries).rjust(2 * 2**20, b"\0"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_index_that_is_none(checkpoint, entries, name) -> None:
    (checkpoint / INDEX).write_bytes(BROKEN[name](entries))
    refused(checkpoint, rf"{INDEX}: expected (a whole TensorFlow checkpoint|one little-endian|at most 1,048,576 bytes)")


def test_random_bytes(checkpoint) -> None:
    whole = (checkpoint / INDEX).read_bytes()
    generator = random.Random(1)
    for length in (1, 47, 48, 49, 1000, len(whole)):
        (checkpoint / INDEX).write_bytes(generator.randbytes(length))
        refused(checkpoint, "expected a whole TensorFlow checkpoint")
        # With a true end, the readers get further.
        (checkpoint / INDEX).write_bytes(generator.randbytes(length) + whole[-48:])
        refused(checkpoint, "expected a whole TensorFlow checkpoint")


@pytest.mark.parametrize("key", ["n_vocab", "n_ctx", "n_embd", "n_head", "n_layer"])
@pytest.mark.parametrize("value", [HUGE, 10**400, -1, 0, True, 2.0, "12", None, [1], {"a": 1}])
def test_hparams_that_lie(checkpoint, key, value) -> None:
    path = checkpoint / "hparams.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    refused(
        checkpoint,
        r"expected a whole number|must be at least 1|must be divisible|expected (float32 of )?shape",
        by_hparams=True,
    )


def test_data_that_are_shorter_or_no_numbers(checkpoint) -> None:
    whole = (checkpoint / DATA).read_bytes()
    (checkpoint / DATA).write_bytes(whole[:-1])
    refused(checkpoint, rf"{INDEX}: tensor model/\S+: expected \d+ bytes in one piece of the {len(whole) - 1} bytes")
    (checkpoint / DATA).write_bytes(b"\x7f" + whole[1:])
    refused(checkpoint, rf"{DATA}: tensor model/\S+: expected a whole TensorFlow checkpoint, found: .*[Cc]hecksum")


def test_values_that_are_not_finite(root, tmp_path, original) -> None:
    import numpy as np

    from gpt_from_scratch.weights.openai import read_hparams
    from gpt_from_scratch.weights.openai_writer import write_checkpoint
    from gpt_from_scratch.weights.synthetic import synthetic_tensors

    cfg = read_hparams(original)
    tensors = list(synthetic_tensors(cfg, 1))
    tensors[3][1].flat[0] = np.inf
    write_checkpoint(tmp_path, cfg, tensors, root / "data/sample/bpe")
    refused(tmp_path, rf"{DATA}: tensor {tensors[3][0].openai}: expected finite values, found some from .* to inf")
