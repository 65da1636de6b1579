"""Fine-tunings of a base that has tokens of one's own, and the bases of every source with them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from gpt_from_scratch.data.fetch.download import Downloads
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.recipes.classify import classify
from gpt_from_scratch.recipes.instruct import instruct
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.bases import provide_bases
from gpt_from_scratch.weights.classifier import load_classifier
from gpt_from_scratch.weights.enlarged import add_tokens
from gpt_from_scratch.weights.huggingface import load_model
from tests.pipeline.test_variants import CONTEXT, SHORT, params, project  # noqa: F401

USER = "<|user|>"
LORA = {"trainable": "lora", "lora": {"rank": 2, "alpha": 4.0}}
ANSWERS = {"max_length": CONTEXT, "sample_tokens": 3, "prompt_style": "phi3"}


@pytest.fixture
def enlarged(project):  # noqa: F811
    add_tokens(project / "models/pretrain", [USER])
    return project


@pytest.mark.parametrize("changes", [{"trainable": "last_block"}, LORA], ids=["last block", "lora"])
def test_a_classifier(root, enlarged, changes):
    classify(Workspace(enlarged, params(root, classify=SHORT | changes)))
    model, _ = load_classifier(enlarged / "models/classifier")
    assert len(model.tok_emb.weight) == 1537
    assert load_tokenizer(enlarged / "models/classifier").encode(USER) == [1536]


@pytest.mark.parametrize("changes", [{"trainable": "all"}, LORA], ids=["all", "lora"])
def test_an_instruction_model(root, enlarged, changes):
    instruct(Workspace(enlarged, params(root, instruct=SHORT | ANSWERS | changes)))
    folder = enlarged / "models/instruct"
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(f"{USER} Hello")["input_ids"]])
    assert ids[0].tolist() == load_tokenizer(folder).encode(f"{USER} Hello") and ids[0, 0] == 1536
    with torch.no_grad():
        torch.testing.assert_close(GPT2LMHeadModel.from_pretrained(folder)(ids).logits, load_model(folder)(ids))


@pytest.fixture
def provide(root, tmp_path):
    raw = tmp_path / "data/raw"
    shutil.copytree(root / "data/sample/bpe", raw / "bpe")
    hashes = {f"bpe/{name}": sha256(raw / "bpe" / name) for name in ("encoder.json", "vocab.bpe")}
    (raw / "sources.json").write_text(json.dumps({"data": "sample", "sha256": hashes}))

    def run(size, **changes):
        values = load_params(root / "profiles/quick.yaml").model_dump()
        for section in ("classify", "instruct"):
            values[section]["base"] = f"gpt2/{size}"
        values["download_gpt2"] |= {"sizes": [size]} | changes
        provide_bases(Params.model_validate(values), tmp_path, Downloads(tmp_path))
        return tmp_path / "models/gpt2" / size

    return run


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
def test_a_folder_with_added_tokens_of_its_own(root, tmp_path, provide, tied, legacy):
    mine = tmp_path / "data/bases/mine"
    shape = {"vocab_size": 1537, "n_positions": 24, "n_embd": 32, "n_head": 4, "n_layer": 1}
    torch.manual_seed(5)
    model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=1535, eos_token_id=1535, tie_word_embeddings=tied)).eval()
    model.save_pretrained(mine)
    bpe = tmp_path / "bpe"
    bpe.mkdir()
    for ours, name in (("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")):
        shutil.copy(root / "data/sample/bpe" / ours, bpe / name)
    (bpe / "config.json").write_text('{"model_type": "gpt2"}')
    theirs = AutoTokenizer.from_pretrained(bpe)
    theirs.add_tokens(["<tool>"])
    if legacy:
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(bpe / name, mine / name)
        (mine / "added_tokens.json").write_text('{"<tool>": 1536}')
    else:
        theirs.save_pretrained(mine)
    theirs.add_special_tokens({"additional_special_tokens": [USER]})
    folder = provide("custom", source="path", path="data/bases/mine", add_tokens=[USER])
    text = f"{USER} a <tool>light{USER}"
    ids = load_tokenizer(folder).encode(text)
    assert ids == theirs(text)["input_ids"] == AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    assert 1537 in ids and 1536 in ids
    model.resize_token_embeddings(1538, mean_resizing=False)
    old = torch.tensor([[1, 2, 1536]])
    with torch.no_grad():
        after = load_model(folder)(old)
        assert after.shape == model(old).logits.shape
        torch.testing.assert_close(after[..., :1537], model(old).logits[..., :1537])
    with pytest.raises(InputError, match="found '<tool>'"):
        provide("custom", source="path", path="data/bases/mine", add_tokens=["<tool>"])
