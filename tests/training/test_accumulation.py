"""Several small batches make the update of one large batch."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.heads import set_classification_head
from gpt_from_scratch.training.fit import fit, total_steps
from gpt_from_scratch.training.tasks import Classification, LanguageModelling

CFG = {
    "vocab_size": 50,
    "context_length": 8,
    "emb_dim": 16,
    "n_heads": 2,
    "n_layers": 2,
    "drop_rate": 0.0,
    "qkv_bias": False,
}


def language_data(sequences):
    ids = torch.randint(50, (sequences, 8), generator=torch.Generator().manual_seed(5))
    targets = ids.roll(-1, 1)
    for row, target in enumerate(targets):  # from 1 to 8 of them are learnt
        target[1 + row % 8 :] = -100
    return TensorDataset(ids, targets)


def messages(sequences):
    ids, _ = language_data(sequences).tensors
    return TensorDataset(ids, torch.arange(sequences) % 2)


def train(params, data, task, batch_size, accumulation_steps):
    params = params.model_copy(
        update={"batch_size": batch_size, "accumulation_steps": accumulation_steps, "eval_batches": 2}
    )
    loaders = (
        DataLoader(data, batch_size=batch_size, shuffle=True, drop_last=True),
        DataLoader(data, batch_size=batch_size),
    )
    torch.manual_seed(1)
    model = GPTModel(CFG)
    if isinstance(task, Classification):
        set_classification_head(model, 2)
    torch.manual_seed(2)
    result = fit(model, task, loaders, params)
    return model, result


@pytest.mark.parametrize(
    ("data", "task"), [(language_data, LanguageModelling()), (messages, Classification())], ids=["language", "classes"]
)
@pytest.mark.parametrize("split", [(4, 2), (2, 4), (1, 8)])
def test_equals_the_large_batch(params, data, task, split):
    large_model, large = train(params, data(29), task, 8, 1)
    model, small = train(params, data(29), task, *split)
    assert len(small.rows) == len(large.rows)
    assert small.metrics()["steps"] == large.metrics()["steps"] == 6
    for ours, theirs in zip(model.parameters(), large_model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    if data is messages:  # with targets left out, a mean of batches' means depends on the batches
        for ours, theirs in zip(small.rows, large.rows, strict=True):
            assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-5)


def test_too_few_sequences_for_one_update(params):
    loader = DataLoader(language_data(7), batch_size=2, drop_last=True)
    asked = params.model_copy(update={"batch_size": 2, "accumulation_steps": 4})
    with pytest.raises(InputError, match="training set of 7 sequences: fewer than one batch of 8"):
        total_steps(loader, asked)
