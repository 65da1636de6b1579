"""What a run is said to need, beside what models and autograd really take."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.model.heads import set_classification_head, train_only
from gpt_from_scratch.model.lora import train_lora
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tools.estimates import (
    LIBRARIES,
    MARGIN,
    SAMPLE_VOCABULARY,
    disk_need,
    lora_count,
    memory_needs,
    parameter_count,
)

TRAINABLE = ["last_layer", "last_block", "last_two_blocks", "all", "lora"]


@pytest.fixture
def book(root):
    return load_params(root / "profiles/book.yaml")


def changed(params: Params, section: str, **values: object) -> Params:
    return params.model_copy(update={section: getattr(params, section).model_copy(update=values)})


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_as_the_model_has_them(tied):
    cfg = GPTConfig(50, 8, 16, 2, 3, tie_weights=tied)
    assert parameter_count(cfg) == sum(parameter.numel() for parameter in GPTModel(cfg).parameters())


@pytest.mark.parametrize(("size", "gigabytes"), [("124M", 2.0), ("355M", 5.7), ("774M", 12.4), ("1558M", 24.9)])
def test_a_whole_training_takes_16_bytes_a_weight(book, size, gigabytes):
    need = memory_needs(changed(book, "instruct", base=f"gpt2/{size}"))["finetune_instruct"]
    assert (need.model - LIBRARIES) / 1e9 == pytest.approx(gigabytes, abs=0.05)
    assert need.batch > 2e9


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_what_is_frozen_takes_4(book, trainable):
    cfg = GPT2_SIZES["124M"]
    with torch.device("meta"):
        model = GPTModel(cfg)
        set_classification_head(model, 2)
        if trainable == "lora":
            train_lora(model, book.classify.lora.rank, book.classify.lora.alpha)
        else:
            train_only(model, trainable)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    need = memory_needs(changed(book, "classify", trainable=trainable))["finetune_classify"]
    expected = max(4 * parameter_count(cfg) + 12 * trained, 8 * parameter_count(cfg))
    assert need.model - LIBRARIES == pytest.approx(expected, rel=0.01)


def test_low_rank_updates_of_an_instruction_model(book):
    cfg = GPT2_SIZES["124M"]
    with torch.device("meta"):
        model = GPTModel(cfg)
        train_lora(model, rank=16, alpha=16)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert lora_count(cfg, 16, cfg.vocab_size) == trained
    assert lora_count(cfg, 16, outputs=2) == 2_666_528  # as appendix E prints it
    need, whole = (
        memory_needs(changed(book, "instruct", trainable=trainable))["finetune_instruct"]
        for trainable in ("lora", "all")
    )
    # Written with a head of its own, since that is merged.
    assert need.model - LIBRARIES == 8 * parameter_count(replace(cfg, tie_weights=False)) < whole.model - LIBRARIES
    assert need.batch == whole.batch


@pytest.mark.parametrize(("kind", "keep"), [("muon", "last"), ("adamw", "best"), ("muon", "best")])
def test_the_optimizers_state_and_the_best_weights_count(book, kind, keep):
    part = book.pretrain.optimizer.model_copy(update={"kind": kind})
    params = changed(book, "pretrain", optimizer=part, keep=keep)
    cfg = GPTConfig(GPTConfig().vocab_size, **book.pretrain.model.architecture)
    with torch.device("meta"):
        model = GPTModel(cfg)
    count = sum(parameter.numel() for parameter in model.parameters())
    matrices = sum(parameter.numel() for parameter in model.trf_blocks.parameters() if parameter.ndim == 2)
    expected = 16 * count - (4 * matrices if kind == "muon" else 0) + (4 * count if keep == "best" else 0)
    assert memory_needs(params)["pretrain"].model - LIBRARIES == pytest.approx(expected, rel=0.001)
    if kind == "adamw":
        assert disk_need(params) == disk_need(book) + 3 * 4 * count  # three checkpoints


def test_longer_messages_take_more(book):
    need, longer = (
        memory_needs(changed(book, "classify", max_length=length))["finetune_classify"].batch for length in (128, 1024)
    )
    assert longer >= 8 * need


@pytest.mark.parametrize("kernels", ["explicit", "fused"])
@pytest.mark.parametrize("drop_rate", [0.0, 0.1])
def test_a_batch_takes_what_autograd_keeps(book, kernels, drop_rate):
    shape = {"context_length": 32, "emb_dim": 64, "n_heads": 2, "n_layers": 2, "drop_rate": drop_rate}
    part = book.pretrain.model.model_copy(update=shape | {"kernels": kernels})
    params = changed(changed(book, "pretrain", model=part, batch_size=2), "fetch_data", source="sample")
    model = GPTModel(GPTConfig(SAMPLE_VOCABULARY, **part.architecture))
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(0, SAMPLE_VOCABULARY, (2, 32))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
    # Of the four times that the logits count, autograd keeps one; the others are there for a moment.
    passing = 3 * 4 * 2 * 32 * SAMPLE_VOCABULARY
    assert loss.requires_grad
    assert memory_needs(params)["pretrain"].batch / MARGIN - passing == pytest.approx(sum(kept.values()), rel=0.12)


def test_the_disk_holds_what_is_fetched_trained_and_saved(book):
    assert disk_need(book) / 1e9 == pytest.approx(10.8, abs=0.1)
    large = changed(changed(book, "instruct", base="gpt2/1558M"), "classify", base="gpt2/1558M")
    assert disk_need(large) > 9 * disk_need(book)


def test_the_samples_vocabulary(root):
    assert load_tokenizer(root / "data/sample/bpe").n_vocab == SAMPLE_VOCABULARY
    assert memory_needs(load_params(root / "profiles/quick.yaml"))["finetune_instruct"].total < 2e9
