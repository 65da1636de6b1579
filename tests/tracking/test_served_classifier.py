"""What is served of a classifier that decides in another way than the book's."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import GPT2Model

from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.classifier import save_classifier

TEXTS = ["win a prize now", "see you at home, mum"]


@torch.no_grad()
@pytest.mark.parametrize("deciding", ["first", "mean"])
def test_it_decides_as_it_was_trained(root, tmp_path, deciding) -> None:
    from gpt_from_scratch.tracking.served.classifier import Classifier

    torch.manual_seed(1)
    model = GPTModel(GPTConfig(1536, 16, 16, 2, 2, qkv_bias=True, tie_weights=True))
    model.out_head = nn.Linear(16, 2)
    model.out_head.weight.mul_(5)
    about = {"labels": ("ham", "spam"), "max_length": 14, "pad_id": 1535, "deciding_token": deciding}
    save_classifier(model, tmp_path, root / "data/sample/bpe", **about)
    served = Classifier()
    served.load_context(SimpleNamespace(artifacts={"model": str(tmp_path)}))
    found = served.predict(None, pd.DataFrame({"text": TEXTS}))["probability_spam"]

    ids = [load_tokenizer(tmp_path).encode(text) for text in TEXTS]
    states = (
        GPT2Model.from_pretrained(tmp_path)
        .eval()(torch.tensor([row + [1535] * (14 - len(row)) for row in ids]))
        .last_hidden_state
    )
    head = load_file(tmp_path / "model.safetensors")
    state = states[:, 0] if deciding == "first" else states.mean(1)
    expected = torch.softmax(state @ head["score.weight"].T + head["score.bias"], -1)[:, 1]
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert abs(found[0] - found[1]) > 1e-3
