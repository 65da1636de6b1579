"""Synthetic checkpoints: reproducible, and drawn as GPT-2 was initialised."""

from __future__ import annotations

import numpy as np
import pytest

from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.weights.bases import warn_of_cost
from gpt_from_scratch.weights.openai import read_hparams, read_tensors
from gpt_from_scratch.weights.synthetic import synthetic_tensors, write_synthetic_checkpoint

TINY = GPTConfig(300, 64, 48, 4, 8, drop_rate=0.0, qkv_bias=True, tie_weights=True)


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return {tensor.openai: values for tensor, values in synthetic_tensors(TINY, seed=5)}


def test_one_seed_gives_the_same_bytes(tmp_path, tokenizer_folder) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        (tmp_path / name).mkdir()
        write_synthetic_checkpoint(TINY, seed, tmp_path / name, tokenizer_folder)
    for path in (tmp_path / "one").iterdir():
        assert sha256(path) == sha256(tmp_path / "two" / path.name), path.name
    data = "model.ckpt.data-00000-of-00001"
    assert sha256(tmp_path / "one" / data) != sha256(tmp_path / "three" / data)


def test_the_numbers_of_a_seed_stay_what_they_are(tensors) -> None:
    assert tensors["model/wte"][0, :3] == pytest.approx([-0.02444995, -0.04276631, -0.00129446], rel=1e-5)


def test_what_is_written_is_read(tmp_path, tokenizer_folder, tensors) -> None:
    write_synthetic_checkpoint(TINY, 5, tmp_path, tokenizer_folder)
    assert read_hparams(tmp_path) == TINY
    read = {tensor.openai: stored.numpy() for tensor, stored in read_tensors(tmp_path)}
    assert all(np.array_equal(read[name], values) for name, values in tensors.items())


@pytest.mark.parametrize(
    ("ending", "spread"),
    [("/wte", 0.02), ("/wpe", 0.01), ("/c_attn/w", 0.02), ("/c_fc/w", 0.02), ("/c_proj/w", 0.02 / 4)],
)
def test_the_spread_of_the_weights(tensors, ending, spread) -> None:
    values = np.concatenate([values.ravel() for name, values in tensors.items() if name.endswith(ending)])
    assert values.std() == pytest.approx(spread, rel=0.03)
    assert abs(values.mean()) < 0.1 * spread


def test_biases_are_zero_and_norms_one(tensors) -> None:
    assert all((values == 0).all() for name, values in tensors.items() if name.endswith("/b"))
    assert all((values == 1).all() for name, values in tensors.items() if name.endswith("/g"))
    assert all(values.dtype == np.float32 for values in tensors.values())


@pytest.mark.parametrize(("size", "said"), [("355M", "355 million random weights, 1.4 GB on disk"), ("tiny", "")])
def test_what_random_weights_of_a_published_size_cost_is_said_before(caplog, size, said):
    warn_of_cost(size, 1)
    assert (said in caplog.text) and bool(caplog.text) == bool(said)
