"""A prompt of the samples that does not fit the model's context: the trainings refuse it before they begin."""

from __future__ import annotations

import json
import shutil
from unittest.mock import Mock

import pytest
import torch
import yaml

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.recipes.instruct import instruct
from gpt_from_scratch.recipes.pretrain import pretrain
from gpt_from_scratch.training.workspace import Workspace

TINY = {"context_length": 16, "emb_dim": 8, "n_heads": 2, "n_layers": 1}
SHORT = {"epochs": 2, "eval_every": 1000, "eval_batches": 1, "batch_size": 64}
EVERY = "Every effort moves you"


@pytest.fixture
def train(root, tmp_path, caplog):
    """Run a recipe on the sample data, and return what it says."""
    raw = tmp_path / "data/raw"
    shutil.copytree(root / "data/sample", raw)
    shutil.copy(raw / "the-lighthouse.txt", raw / "text.txt")
    hashes = {str(path.relative_to(raw)): sha256(path) for path in raw.rglob("*") if path.is_file()}
    (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))

    def train(recipe, prompt):
        params = yaml.safe_load((root / "profiles/quick.yaml").read_text(encoding="utf-8"))
        params["pretrain"] |= SHORT | {"stride": 64}
        params["pretrain"]["model"] |= TINY
        params["pretrain"]["sample"] |= {"prompt": prompt, "tokens": 3}
        params["instruct"] |= SHORT | {"base": "pretrain", "max_length": 16, "sample_tokens": 3}
        caplog.clear()
        recipe(Workspace(tmp_path, Params.model_validate(params), Mock()))
        return caplog.messages

    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    yield train
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


def test_a_prompt_longer_than_the_context_is_refused(train):
    train(pretrain, EVERY)
    with pytest.raises(InputError, match=r"pretrain\.sample\.prompt: expected at most 16 tokens.* and 3 to generate"):
        train(pretrain, EVERY * 10)
    said = r"instruct\.sample_tokens: expected room .* 16 tokens, found 3, and \d+ or more in each of the \d+ "
    with pytest.raises(InputError, match=said):
        train(instruct, EVERY)
