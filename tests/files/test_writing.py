"""Files as they are written: who may read them."""

from __future__ import annotations

import os

import pytest
import torch

from gpt_from_scratch.files.writing import new_folder, write_json
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.weights.huggingface import save_model


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_decides_who_may_read_what_is_written(tmp_path, root, umask):
    torch.manual_seed(1)
    model = GPTModel(GPTConfig(vocab_size=1536, context_length=8, emb_dim=8, n_heads=2, n_layers=1))
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a/b.json", {})
        with new_folder(tmp_path / "c") as folder:
            save_model(model, folder, root / "data/sample/bpe", {})
    finally:
        os.umask(before)
    assert len([*tmp_path.rglob("*")]) > 6
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_one_function_sets_permissions(root):
    sources = {path: path.read_text(encoding="utf-8") for path in (root / "src").rglob("*.py")}
    assert [path.name for path, text in sources.items() if "chmod(" in text] == ["writing.py"]
