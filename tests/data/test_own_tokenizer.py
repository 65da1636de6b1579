"""A tokenizer trained on the corpus: on its training part alone, kept, the model's own, and read by transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_from_scratch.data.text import pretraining
from gpt_from_scratch.data.text.chunks import split_documents
from gpt_from_scratch.data.text.documents import Document
from gpt_from_scratch.data.text.pretraining import pretraining_tokenizer, read_pretraining_text
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.model import GPTConfig
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.recipes.pretrain import pretrain
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.config_file import write_tokenizer
from gpt_from_scratch.weights.huggingface import load_model

SMALL = {"context_length": 16, "emb_dim": 16, "n_heads": 2, "n_layers": 1}


@pytest.fixture(scope="module")
def text(root) -> str:
    return (root / "data/sample/the-lighthouse.txt").read_text(encoding="utf-8")[:12_000]


@pytest.fixture(scope="module")
def params(root) -> Params:
    values = load_params(root / "profiles/quick.yaml").model_dump()
    values["pretrain"] |= {"tokenizer": "corpus", "vocab_size": 300, "max_steps": 3, "eval_batches": 1}
    values["pretrain"] |= {"corpus": {"path": "data/corpus"}, "model": SMALL, "stride": 16}
    values["pretrain"]["schedule"] |= {"warmup_fraction": 0.0}
    values["pretrain"]["sample"] |= {"prompt": "The", "tokens": 5}
    return Params.model_validate(values)


def with_text(root: Path, *texts: str) -> Path:
    """Return a project with texts in data/corpus."""
    (root / "data/corpus").mkdir(parents=True)
    for number, text in enumerate(texts):
        (root / f"data/corpus/{number}.txt").write_text(text, encoding="utf-8")
    return root


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def trained(params, text, tmp_path_factory) -> Path:
    """A project with a trained model."""
    project = with_text(tmp_path_factory.mktemp("project"), text[:5000], text[5000:])
    pretrain(Workspace(project, params))
    return project


def test_documents_are_split_by_byte(tmp_path):
    contents = ["one two three four", "five six seven eight"]
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)
    documents = [Document(path, 0, path.stat().st_size, "") for path in paths]

    def written(part: list[Document]) -> list[str]:
        return [one.path.read_text()[one.start : one.end] for one in part]

    found = {share: [written(part) for part in split_documents(documents, share)] for share in (0.3, 18 / 38, 0.7)}
    assert found[0.3] == [["one two"], [" three four", contents[1]]]
    assert found[18 / 38] == [[contents[0]], [contents[1]]]
    assert found[0.7] == [[contents[0], "five six"], [" seven eight"]]


def test_the_validation_part_stays_unseen(params, text, tmp_path):
    section, end = params.pretrain, len(text)
    folders = []
    for name, last in (("a", text), ("b", text[: end - 1000] + "zqx jzq " * 125)):
        project = with_text(tmp_path / name, last)
        folders.append(pretraining_tokenizer(section, project, project / "kept"))
        tokenizer = load_tokenizer(folders[-1])
        found = read_pretraining_text(section, project, project / "kept", tokenizer, folders[-1])
        assert tokenizer.n_vocab == 300
        assert tokenizer.decode([*found.train[:], *found.validation[:]]) == last
        assert len(tokenizer.decode(found.train[:].tolist())) == pytest.approx(0.9 * end, abs=20)
    assert files(folders[0]) == files(folders[1])
    assert not any("zq" in token for token in json.loads((folders[1] / "encoder.json").read_text()))


def test_the_books_text_is_split_by_character(params, text, tmp_path):
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    (raw / "text.txt").write_text(text, encoding="utf-8")
    (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": {"text.txt": sha256(raw / "text.txt")}}))
    section = params.pretrain.model_copy(update={"corpus": Params().pretrain.corpus})
    folder = pretraining_tokenizer(section, tmp_path, tmp_path / "kept")
    tokenizer = load_tokenizer(folder)
    found = read_pretraining_text(section, tmp_path, tmp_path / "kept", tokenizer, folder)
    assert tokenizer.decode(found.validation) == text[int(0.9 * len(text)) :]
    assert len(found.validation) < len(text) / 10


def test_it_is_trained_once_and_the_same_again(params, text, tmp_path, monkeypatch):
    project = with_text(tmp_path, text)
    folder = pretraining_tokenizer(params.pretrain, project, project / "kept")
    before = files(folder)
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "train_bpe", lambda *given: pytest.fail("trained again"))
        assert pretraining_tokenizer(params.pretrain, project, project / "kept") == folder
    shutil.rmtree(folder)
    assert files(pretraining_tokenizer(params.pretrain, project, project / "kept")) == before
    larger = params.pretrain.model_copy(update={"vocab_size": 301})
    assert pretraining_tokenizer(larger, project, project / "kept") != folder
    with pytest.raises(InputError, match=r"vocab_size: expected at most .* that this text has repeated pairs for"):
        pretraining_tokenizer(params.pretrain.model_copy(update={"vocab_size": 60000}), project, project / "kept")


def test_of_a_large_text_pieces_at_equal_distances(params, text, tmp_path, monkeypatch):
    project = with_text(tmp_path, *[text] * 10)
    seen = []
    monkeypatch.setattr(pretraining, "MOST_BYTES", 3 * len(text.encode()))
    monkeypatch.setattr(pretraining, "train_bpe", lambda texts, size: seen.extend(texts) or ({}, []))
    pretraining_tokenizer(params.pretrain, project, project / "kept")
    assert seen == [text, text, text]


def test_the_model_has_it_and_evaluation_finds_the_same_ids(trained, params):
    folder, kept = trained / "models/pretrain", trained / ".cache/corpora"
    assert load_model(folder).config.vocab_size == load_tokenizer(folder).n_vocab == 300
    before = sorted(kept.iterdir())
    found = read_pretraining_text(params.pretrain, trained, kept, load_tokenizer(folder), folder)
    assert sorted(kept.iterdir()) == before
    metrics = json.loads((trained / "metrics/pretrain.json").read_text())
    assert metrics["corpus_documents"] == 2
    assert metrics["corpus_tokens"] == len(found.train) + len(found.validation)


def test_transformers_reads_it(trained):
    from transformers import AutoModelForCausalLM

    folder = trained / "models/pretrain"
    same_tokenizer(folder, 300)
    ids = torch.tensor([load_tokenizer(folder).encode("The keeper")[:16]])
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
    torch.testing.assert_close(load_model(folder)(ids), theirs, rtol=1e-4, atol=1e-4)


def test_a_byte_a_token(params, text, tmp_path):
    section = params.pretrain.model_copy(update={"vocab_size": 257})
    project = with_text(tmp_path, text)
    bytes_alone = pretraining_tokenizer(section, project, project / "kept")
    (tmp_path / "model").mkdir()
    write_tokenizer(bytes_alone, tmp_path / "model", GPTConfig(257, 16, 16, 2, 1))
    same_tokenizer(tmp_path / "model", 257)


def same_tokenizer(folder: Path, vocab_size: int) -> None:
    """Compare a folder's tokenizer with the one that transformers reads there."""
    from transformers import AutoTokenizer

    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    assert (ours.n_vocab, len(theirs), theirs.eos_token_id) == (vocab_size, vocab_size, ours.eot_token)

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(st.text() | st.text(alphabet="the keeper's\n lamp. é"))
    def same(written: str) -> None:
        ids = ours.encode(written, allowed_special="all")
        assert theirs(written)["input_ids"] == ids
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False) == written
        assert vocab_size > 257 or len(ids) == len(written.encode())

    same()
