"""Chapter 6: the data, the training and the classification, next to the reference's."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from gpt_from_scratch.book import ch04, ch06

pytest.importorskip("llms_from_scratch")
from llms_from_scratch import ch04 as theirs_04
from llms_from_scratch import ch06 as theirs_06


@pytest.fixture(scope="session")
def messages(mirror) -> pd.DataFrame:
    with zipfile.ZipFile(mirror / "sms+spam+collection.zip") as archive, archive.open("SMSSpamCollection") as file:
        return pd.read_csv(file, sep="\t", header=None, names=["Label", "Text"])


@pytest.fixture(scope="session")
def csv_files(messages, tmp_path_factory) -> list[Path]:
    """The book's three sets; the first also short enough to train on here."""
    balanced = ch06.create_balanced_dataset(messages)
    balanced["Label"] = balanced["Label"].map({"ham": 0, "spam": 1})
    folder = tmp_path_factory.mktemp("spam")
    for name, part in zip(("train", "validation", "test"), ch06.random_split(balanced, 0.7, 0.1), strict=True):
        part.to_csv(folder / f"{name}.csv", index=None)
    return [folder / f"{name}.csv" for name in ("train", "validation", "test")]


def test_the_book_s_sets_row_for_row(messages):
    ours, theirs = ch06.create_balanced_dataset(messages), theirs_06.create_balanced_dataset(messages)
    pd.testing.assert_frame_equal(ours, theirs)
    sets = ch06.random_split(ours, 0.7, 0.1)
    assert [len(part) for part in sets] == [1045, 149, 300]
    for mine, reference in zip(sets, theirs_06.random_split(theirs, 0.7, 0.1), strict=True):
        pd.testing.assert_frame_equal(mine, reference)


@pytest.mark.parametrize("max_length", [None, 20, 150])
def test_spam_dataset(csv_files, tokenizer, max_length):
    ours = ch06.SpamDataset(csv_files[1], tokenizer, max_length)
    theirs = theirs_06.SpamDataset(csv_files[1], tokenizer, max_length)
    assert ours.max_length == theirs.max_length
    assert ours.encoded_texts == theirs.encoded_texts
    assert len(ours) == len(theirs) == len(ours.data) == 149
    assert all(torch.equal(a, b) for number in range(149) for a, b in zip(ours[number], theirs[number], strict=True))


def test_a_message_that_pandas_takes_for_a_missing_value_stays_a_message(tmp_path, tokenizer):
    path = tmp_path / "messages.csv"
    path.write_text("Label,Text\n0,NA\n1,null\n0,42\n")
    dataset = ch06.SpamDataset(str(path), tokenizer, pad_token_id=0)
    assert [tokenizer.decode([n for n in ids if n]) for ids in dataset.encoded_texts] == ["NA", "null", "42"]


@pytest.fixture
def loaders(csv_files, byte_tokenizer):
    """Returns fresh loaders, the first of them shuffled."""
    sets = [ch06.SpamDataset(path, byte_tokenizer, max_length=24, pad_token_id=0) for path in csv_files[:2]]

    def make():
        return DataLoader(sets[0], batch_size=64, shuffle=True, drop_last=True), DataLoader(sets[1], batch_size=64)

    return make


def classifiers(small):
    for module in (ch04, theirs_04):
        torch.manual_seed(123)
        model = module.GPTModel(small)
        for parameter in model.parameters():
            parameter.requires_grad = False
        torch.manual_seed(123)
        model.out_head = nn.Linear(small["emb_dim"], 2)
        for part in (model.trf_blocks[-1], model.final_norm):
            for parameter in part.parameters():
                parameter.requires_grad = True
        yield model


def test_training_gives_the_references_losses_and_accuracies(small, loaders, capsys):
    results, printed = [], []
    for module, model in zip((ch06, theirs_06), classifiers(small), strict=True):
        train_loader, val_loader = loaders()
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1)
        torch.manual_seed(123)
        results.append(
            module.train_classifier_simple(
                model, train_loader, val_loader, optimizer, "cpu", num_epochs=2, eval_freq=4, eval_iter=2
            )
        )
        printed.append(capsys.readouterr().out)
    for ours, theirs in zip(*results, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert len(results[0][0]) == 8
    assert results[0][4] == 2 * 16 * 64
    assert printed[0] == printed[1]


def test_losses_and_accuracies_of_loaders(small, loaders):
    model = next(classifiers(small)).eval()
    loader = loaders()[1]
    for batches in (None, 1, 1000):
        for name in ("calc_loss_loader", "calc_accuracy_loader"):
            expected = getattr(theirs_06, name)(loader, model, "cpu", num_batches=batches)
            assert getattr(ch06, name)(loader, model, "cpu", num_batches=batches) == pytest.approx(expected, abs=1e-6)
    model.train()
    ch06.calc_accuracy_loader(loader, model, "cpu", 1)
    assert not model.training
    ch06.evaluate_model(model, loader, loader, "cpu", 1)
    assert model.training
    assert math.isnan(ch06.calc_loss_loader([], model, "cpu"))


class LastTokenDecides(nn.Module):
    """Says spam when the last token is number 1; keeps the length of what it was given."""

    def __init__(self):
        super().__init__()
        self.pos_emb = nn.Embedding(10, 4)

    def forward(self, ids):
        self.length = ids.shape[1]
        return torch.stack([(ids != 1).float(), (ids == 1).float()], dim=-1)


class Numbers:
    """A tokenizer for texts that are token ids already."""

    def encode(self, text, **options):
        return [int(word) for word in text.split()]


@pytest.mark.parametrize(
    ("text", "max_length", "pad", "length", "verdict"),
    [
        ("7 7 1", 3, 0, 3, "spam"),
        ("7 7 1", 5, 0, 5, "not spam"),  # a pad is last
        ("7 7", 5, 1, 5, "spam"),
        ("7 1 7 7", 2, 0, 2, "spam"),  # cut
        ("7 7", None, 1, 10, "spam"),  # up to the context
        ("7 7", 50, 1, 10, "spam"),  # not past it
    ],
)
def test_the_last_position_decides(text, max_length, pad, length, verdict):
    model = LastTokenDecides()
    assert ch06.classify_review(text, model, Numbers(), "cpu", max_length, pad_token_id=pad) == verdict
    assert model.length == length
    assert not model.training


def test_classification_agrees_with_the_references(small, byte_tokenizer, messages):
    ours, theirs = classifiers(small)
    for text in messages["Text"][:30]:
        expected = theirs_06.classify_review(text, theirs, byte_tokenizer, "cpu", max_length=24, pad_token_id=0)
        assert ch06.classify_review(text, ours, byte_tokenizer, "cpu", max_length=24, pad_token_id=0) == expected


def test_plot_values_writes_the_plot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    ch06.plot_values([0, 1, 2], [100, 200, 300], [0.5, 0.8, 0.9], [0.5, 0.7, 0.8], label="accuracy")
    assert Path("accuracy-plot.pdf").read_bytes().startswith(b"%PDF")
