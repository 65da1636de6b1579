"""Chapter 5: generation, losses and the training, next to the reference's under the same seeds."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.book import appendix_d, ch04, ch05

pytest.importorskip("llms_from_scratch")
from llms_from_scratch import appendix_d as theirs_d
from llms_from_scratch import ch04 as theirs_04
from llms_from_scratch import ch05 as theirs_05

IDS = torch.tensor([[15, 11, 31, 71]])


class Counting(nn.Module):
    """Says token n + 1 after token n, up to 9, then 0 again; knows nothing else."""

    def forward(self, idx):
        return nn.functional.one_hot((idx + 1) % 10, 10).float() * 50


def pair(small, name="GPTModel"):
    """The same model, ours and theirs."""
    models = []
    for module in (ch04, theirs_04):
        torch.manual_seed(123)
        models.append(getattr(module, name)(small))
    return models


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"temperature": 1.4}, {"temperature": 0.7, "top_k": 25}])
def test_generate_draws_the_references_tokens(small, options):
    ours, theirs = pair(small)
    found, expected = [], []
    for module, model, result in ((ch05, ours.eval(), found), (theirs_05, theirs.eval(), expected)):
        torch.manual_seed(5)
        result.append(module.generate(model=model, idx=IDS, max_new_tokens=36, context_size=32, **options))
    assert torch.equal(found[0], expected[0])


def test_generate_stops_before_the_end_token_as_the_reference_does():
    arguments = {"model": Counting(), "idx": torch.tensor([[3]]), "max_new_tokens": 20, "context_size": 4, "eos_id": 9}
    assert ch05.generate(**arguments).tolist() == theirs_05.generate(**arguments).tolist() == [[3, 4, 5, 6, 7, 8]]


def test_several_rows_end_when_all_have_ended_and_the_earlier_are_filled_up():
    rows = ch05.generate(Counting(), torch.tensor([[3], [7], [8]]), 20, context_size=4, eos_id=9)
    assert rows.tolist() == [[3, 4, 5, 6, 7, 8], [7, 8, 9, 9, 9, 9], [8, 9, 9, 9, 9, 9]]


def test_several_rows_with_top_k_are_each_what_they_are_alone():
    rows = ch05.generate(Counting(), torch.tensor([[3], [7]]), 3, context_size=4, temperature=1.0, top_k=1)
    assert rows.tolist() == [[3, 4, 5, 6], [7, 8, 9, 0]]


def test_an_end_at_once_adds_nothing():
    assert ch05.generate(Counting(), torch.tensor([[8], [8]]), 5, context_size=4, eos_id=9).tolist() == [[8], [8]]


def test_text_to_ids_and_back(tokenizer):
    ids = ch05.text_to_token_ids("Every effort<|endoftext|>", tokenizer)
    assert ids.tolist() == [[6109, 3626, 50256]]
    assert ch05.token_ids_to_text(ids, tokenizer) == "Every effort<|endoftext|>"


@pytest.fixture
def loaders():
    """Returns fresh loaders, the first of them shuffled."""
    ids = torch.randint(0, 256, (30, 33), generator=torch.Generator().manual_seed(1))
    windows = [TensorDataset(part[:, :-1], part[:, 1:]) for part in (ids[:19], ids[19:])]

    def make():
        return DataLoader(windows[0], batch_size=2, shuffle=True, drop_last=True), DataLoader(windows[1], batch_size=2)

    return make


@pytest.mark.parametrize("name", ["GPTModel", "GPTModelFast"])
def test_training_gives_the_references_losses(small, loaders, byte_tokenizer, capsys, name):
    results, printed = [], []
    for module, model in zip((ch05, theirs_05), pair(small, name), strict=True):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
        torch.manual_seed(123)
        results.append(
            module.train_model_simple(
                model,
                *loaders(),
                optimizer,
                torch.device("cpu"),
                num_epochs=3,
                eval_freq=2,
                eval_iter=3,
                start_context="Every effort moves you",
                tokenizer=byte_tokenizer,
            )
        )
        printed.append(capsys.readouterr().out)
        assert model.training
    ours, theirs = results
    assert len(ours[0]) > 8
    assert ours[0] == pytest.approx(theirs[0], abs=1e-4)
    assert ours[1] == pytest.approx(theirs[1], abs=1e-4)
    assert ours[2] == theirs[2]
    assert printed[0] == printed[1]


@pytest.mark.parametrize("options", [{}, {"orig_book_version": True}, {"initial_lr": 1e-5, "min_lr": 1e-5}])
def test_appendix_d_gives_the_references_losses_and_rates(small, loaders, byte_tokenizer, capsys, options):
    results, printed = [], []
    for module, model in zip((appendix_d, theirs_d), pair(small), strict=True):
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1)
        torch.manual_seed(123)
        arguments = {"n_epochs": 3, "eval_freq": 2, "eval_iter": 2, "start_context": "Every", "warmup_steps": 4}
        results.append(
            module.train_model(
                model, *loaders(), optimizer, torch.device("cpu"), **arguments, tokenizer=byte_tokenizer, **options
            )
        )
        printed.append(capsys.readouterr().out)
    for ours, theirs in zip(*results, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert results[0][3] == pytest.approx(results[1][3], rel=1e-9)
    assert printed[0] == printed[1]


def test_find_highest_gradient(small):
    model = ch04.GPTModel(small)
    assert appendix_d.find_highest_gradient(model) is None
    ch05.calc_loss_batch(IDS, IDS, model, "cpu").backward()
    assert torch.equal(appendix_d.find_highest_gradient(model), theirs_d.find_highest_gradient(model))


def test_losses_of_batches_and_loaders(small, loaders):
    model = ch04.GPTModel(small).eval()
    loader = loaders()[1]
    for batches in (None, 1, 2, 1000):
        expected = theirs_05.calc_loss_loader(loader, model, "cpu", num_batches=batches)
        assert ch05.calc_loss_loader(loader, model, "cpu", num_batches=batches) == pytest.approx(expected, abs=1e-6)
    assert ch05.calc_loss_loader(list(loader), model, "cpu") == pytest.approx(expected, abs=1e-6)
    assert math.isnan(ch05.calc_loss_loader([], model, "cpu"))
    assert ch05.calc_loss_batch(IDS, IDS, model, "cpu").requires_grad


def test_evaluating_is_without_dropout_and_leaves_the_model_in_training_mode(small, loaders):
    model = ch04.GPTModel(small).eval()
    first = ch05.evaluate_model(model, loaders()[1], loaders()[1], "cpu", 1)
    assert model.training
    assert first[0] == first[1] == ch05.evaluate_model(model, loaders()[1], [], "cpu", 1)[0]


def test_plot_losses_writes_the_plot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    ch05.plot_losses([0, 1, 2], [512, 1024, 1536], [9.0, 8.0, 7.0], [9.0, 8.5, 8.2])
    assert Path("loss-plot.pdf").read_bytes().startswith(b"%PDF")
