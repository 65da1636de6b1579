"""Classes of texts: against the model's own logits, and the same on every surface."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiktoken
import torch

from gpt_from_scratch.app import classify as page
from gpt_from_scratch.app.shelf import Shelf
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.classification import classification_metrics
from gpt_from_scratch.generation.classifying import classify, padded_ids, probabilities
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.heads import set_causal, set_classification_head
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.recipes import evaluate
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.tasks import Classification, accuracy
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.classifier import ClassifierInfo, load_classifier, save_classifier

TEXTS = [
    "win a prize now",
    "see you at home, mum",
    "a",
    " x ",
    "naïve café 🎉, いろは\n",
    "long " * 60,
    'she said "no, thanks", and left',
    "win a prize now",
    "<|endoftext|>",
]
DECIDING = ["last", "last_real", "first", "mean"]
MAX_LENGTH = 24


def classifier(seed: int = 3, **shape: int) -> GPTModel:
    torch.manual_seed(seed)
    shape = {"vocab_size": 1536, "context_length": 96, "emb_dim": 32, "n_heads": 2, "n_layers": 2, **shape}
    model = GPTModel(GPTConfig(**shape, drop_rate=0.0, qkv_bias=True))
    set_classification_head(model, 2)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.3)
    return model.eval()


@pytest.fixture(params=[(deciding, True) for deciding in DECIDING] + [("first", False)], ids=str)
def project(root, tmp_path, request) -> Path:
    """A project with a classifier and the texts as all of its splits."""
    deciding, causal = request.param
    model, folder = classifier(), tmp_path / "models/classifier"
    set_causal(model, causal)
    folder.mkdir(parents=True)
    about = {"labels": ("ham", "spam"), "max_length": MAX_LENGTH, "pad_id": 1535, "deciding_token": deciding}
    save_classifier(model, folder, root / "data/sample/bpe", **about)
    ham, spam = one_by_one(folder).T
    model.out_head.bias.data[0] += float(np.median(np.log(spam / ham))) + 1e-3  # some are called ham, some spam
    save_classifier(model, folder, root / "data/sample/bpe", **about)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "data/spam").mkdir(parents=True)
    frame = pd.DataFrame({"Label": [number % 2 for number in range(len(TEXTS))], "Text": TEXTS})
    for split in ("train", "validation", "test"):
        frame.to_csv(tmp_path / f"data/spam/{split}.csv", index=False, lineterminator="\n")
    return tmp_path


@torch.no_grad()
def one_by_one(folder: Path) -> np.ndarray:
    """Return each text's probabilities by the plain model: cut, padded, and decided as the folder says."""
    model, info = load_classifier(folder, kernels="explicit")
    rows = []
    for text in TEXTS:
        ids = load_tokenizer(folder).encode(text, disallowed_special=())[:MAX_LENGTH]
        if info.deciding_token != "last_real":
            ids += [info.pad_id] * (MAX_LENGTH - len(ids))
        logits = model(torch.tensor([ids]))[0].double()
        logits = {"first": logits[0], "mean": logits.mean(0)}.get(info.deciding_token, logits[-1])
        rows.append(torch.softmax(logits, -1).tolist())
    return np.array(rows)


def by_evaluate(root: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], np.ndarray]:
    seen = {}

    def metrics(labels: Any, probability: np.ndarray, names: Any) -> dict[str, Any]:
        seen.setdefault(len(seen), probability)
        return classification_metrics(labels, probability, names)

    monkeypatch.setattr(evaluate, "classification_metrics", metrics)
    work = Workspace(project, load_params(root / "profiles/quick.yaml"))
    evaluate.evaluate_classifier(work, torch.device("cpu"))
    rows = csv.DictReader((project / "metrics/plots/confusion.csv").open(encoding="utf-8"))
    return [row["predicted"] for row in rows], seen[0]


def by_command(gpt: Any, project: Path) -> tuple[list[str], np.ndarray]:
    with (project / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["Text"], *([text] for text in TEXTS)])
    result = gpt(project, "classify", "--file", "texts.csv", "--column", "Text", "--format", "jsonl", "--threads", 1)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert f"note: 1 of {len(TEXTS)} texts cut to {MAX_LENGTH} tokens" in result.stderr
    return [row["label"] for row in rows], np.array([list(row["probabilities"].values()) for row in rows])


def by_page(project: Path) -> tuple[list[str], np.ndarray]:
    shown, content = page.classified(Shelf(project / "models"), TEXTS)
    assert f"1 of {len(TEXTS)} messages cut to {MAX_LENGTH} tokens" in shown
    rows = list(csv.DictReader(io.StringIO(content)))
    return [row["Label"] for row in rows], np.array([float(row["Probability"]) for row in rows])


def by_server(project: Path) -> tuple[list[str], np.ndarray]:
    from gpt_from_scratch.tracking.served.classifier import Classifier

    served = Classifier()
    served.load_context(SimpleNamespace(artifacts={"model": str(project / "models/classifier")}))
    found = served.predict(None, pd.DataFrame({"text": TEXTS}))
    assert found["cut"].tolist() == [len(text) > 200 for text in TEXTS]
    return found["label"].tolist(), found[["probability_ham", "probability_spam"]].to_numpy()


def test_all_surfaces_give_the_same_labels_and_probabilities(root, project, gpt, monkeypatch) -> None:
    expected = one_by_one(project / "models/classifier")
    labels = [("ham", "spam")[best] for best in expected.argmax(axis=1)]
    assert len(set(labels)) == 2
    for named, found in (by_evaluate(root, project, monkeypatch), by_command(gpt, project), by_server(project)):
        assert named == labels
        assert np.abs(found - expected).max() < 1e-5
    named, best = by_page(project)
    assert named == labels
    assert np.abs(best - expected.max(axis=1)).max() < 6e-5, "the page prints four digits"


def info(deciding: str = "last", max_length: int = 10) -> ClassifierInfo:
    return ClassifierInfo(("ham", "spam"), max_length, 0, deciding)


@pytest.fixture(scope="module")
def token_ids() -> torch.Tensor:
    return torch.randint(0, 256, (23, 10), generator=torch.Generator().manual_seed(4))


def test_probabilities_come_from_the_last_position(token_ids) -> None:
    model = classifier()
    found = probabilities(model, info(), token_ids.tolist(), batch_size=5)
    logits = np.stack([model(row[None])[0, -1].detach().double().numpy() for row in token_ids])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 23, 100, None])
def test_probabilities_do_not_depend_on_the_batch_size(token_ids, batch_size) -> None:
    found = [probabilities(classifier(), info(), token_ids.tolist(), batch_size=size) for size in (batch_size, 7)]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_the_accuracy_is_the_trainings_own(token_ids) -> None:
    labels, model = torch.arange(23) % 2, classifier()
    ham, spam = probabilities(model, info(), token_ids.tolist()).T
    model.out_head.bias.data[0] += float(np.median(np.log(spam / ham)))
    found = probabilities(model, info(), token_ids.tolist(), batch_size=6)
    assert 0 < (found[:, 1] > 0.5).sum() < 23
    expected = accuracy(Classification(), model, [(token_ids, labels)], Evaluator("cpu"))
    assert classification_metrics(labels.numpy(), found, ("ham", "spam"))["accuracy"] == pytest.approx(expected)


@pytest.fixture(scope="module")
def tokenizer(root) -> tiktoken.Encoding:
    return load_tokenizer(root / "data/sample/bpe")


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_blank_text_is_refused_by_its_number(tokenizer, text) -> None:
    with pytest.raises(InputError, match="text 2: expected a text to classify, found an empty one"):
        classify(classifier(), info(), tokenizer, ["a", text])


def test_what_was_cut_is_said(tokenizer) -> None:
    found = classify(classifier(), info("last_real", 5), tokenizer, ["a", "b " * 9, "c " * 9])
    assert found.cut_note("texts") == "2 of 3 texts cut to 5 tokens, the most that the classifier reads"
    assert padded_ids(info("last", 5), tokenizer, "a") == ([*tokenizer.encode("a"), 0, 0, 0, 0], 1)
    assert padded_ids(info("last_real", 5), tokenizer, "a") == (tokenizer.encode("a"), 1)
    assert padded_ids(info("last_real", 5), tokenizer, "b " * 9)[1] == 5
