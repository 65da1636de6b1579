"""Pretraining: a GPT from random weights learns to predict a text's next token (chapter 5)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from gpt_from_scratch.data.text.loaders import text_loaders
from gpt_from_scratch.data.text.pretraining import pretraining_tokenizer, read_pretraining_text
from gpt_from_scratch.data.text.shards import Workers
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.generation.text import check_room, continue_text, encode
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.initial import draw_gpt2_weights
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.environment import prepare
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.journal import Samples
from gpt_from_scratch.training.outputs import SAMPLES, write_training
from gpt_from_scratch.training.ranks import usable_cores
from gpt_from_scratch.training.tasks import LanguageModelling
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.huggingface import save_model

if TYPE_CHECKING:
    from gpt_from_scratch.params.trainings import PretrainModel

log = logging.getLogger(__name__)

NAME = "pretrain"


def new_model(params: PretrainModel, vocab_size: int) -> GPTModel:
    """Return a model with the initial weights that the parameters ask for."""
    model = GPTModel(GPTConfig(vocab_size=vocab_size, **params.architecture))
    if params.init == "gpt2":
        draw_gpt2_weights(model)
    elif params.tie_weights:
        log.warning(
            "pretrain.model: with tie_weights and init: book the output head is the embeddings' matrix, drawn with a "
            "deviation of 1: the loss begins above 80 and hardly falls; set pretrain.model.init=gpt2"
        )
    return model


def pretrain(work: Workspace) -> None:
    """Train a model, write a sample after every epoch, and save model, metrics and curves.

    Raises:
        InputError: when data or parameters do not fit, as the parts that are called here say.
    """
    params = work.params.pretrain
    device = prepare(work.params.runtime, work.group.local_size)

    bpe = pretraining_tokenizer(params, work.root, work.corpora_folder)
    tokenizer = load_tokenizer(bpe)
    sample = params.sample
    prompt = encode(tokenizer, sample.prompt)
    check_room(prompt, sample.tokens, params.model.context_length, name="pretrain.sample.prompt")
    workers = Workers(usable_cores(), work.on_fork)
    text = read_pretraining_text(params, work.root, work.corpora_folder, tokenizer, bpe, workers)
    work.tracker.dataset(text.path.name, text.path, text.sha256, "pretraining")
    loaders = text_loaders(text.train, text.validation, params.model.context_length, params.stride, params.batch_size)

    torch.manual_seed(params.seed)
    model = new_model(params.model, tokenizer.n_vocab).to(device)
    samples = Samples(
        sample.prompt,
        lambda: continue_text(model, tokenizer, sample.prompt, sample.tokens),
        tell=lambda row: work.tracker.table([row], SAMPLES),
    )
    journal = fit(
        model,
        LanguageModelling(),
        loaders,
        params,
        [work.tracker, work.progress, samples],
        initial_batches=None if params.corpus.is_book else params.eval_batches,
        saver=work.saver,
        group=work.group,
    )
    if not work.group.first:
        return

    facts = {**work.data_facts("pretrain"), "pretrained": "none", **text.facts}
    with new_folder(work.models / "pretrain") as folder:
        save_model(model, folder, bpe, facts)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    write_training(work, NAME, journal, {**facts, "parameters": parameters}, samples=samples.rows)
