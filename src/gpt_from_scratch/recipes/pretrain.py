"""Pretraining: a GPT from random weights learns to predict a text's next token (chapter 5)."""

from __future__ import annotations

import torch

from gpt_from_scratch.data.raw.files import raw_file
from gpt_from_scratch.data.text.loaders import text_loaders
from gpt_from_scratch.data.text.pretraining import read_pretraining_text
from gpt_from_scratch.data.text.shards import Workers
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.generation.text import check_room, continue_text, encode
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.environment import prepare, usable_cores
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.journal import Samples
from gpt_from_scratch.training.outputs import SAMPLES, write_training
from gpt_from_scratch.training.tasks import LanguageModelling
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.huggingface import save_model

NAME = "pretrain"


def pretrain(work: Workspace) -> None:
    """Train a model, write a sample after every epoch, and save model, metrics and curves.

    Raises:
        InputError: when data or parameters do not fit, as the parts that are called here say.
    """
    params = work.params.pretrain
    device = prepare(work.params.runtime, work.group.local_size)

    bpe = raw_file(work.raw, "bpe")
    tokenizer = load_tokenizer(bpe)
    sample = params.sample
    prompt = encode(tokenizer, sample.prompt)
    check_room(prompt, sample.tokens, params.model.context_length, name="pretrain.sample.prompt")
    workers = Workers(usable_cores(), work.on_fork)
    text = read_pretraining_text(params, work.root, work.corpora_folder, tokenizer, bpe, workers)
    work.tracker.dataset(text.path.name, text.path, text.sha256, "pretraining")
    loaders = text_loaders(text.train, text.validation, params.model.context_length, params.stride, params.batch_size)

    torch.manual_seed(params.seed)
    model = GPTModel(GPTConfig(vocab_size=tokenizer.n_vocab, **dict(params.model))).to(device)
    samples = Samples(
        lambda: continue_text(model, tokenizer, sample.prompt, sample.tokens),
        tell=lambda row: work.tracker.table([row], SAMPLES),
    )
    journal = fit(
        model,
        LanguageModelling(),
        loaders,
        params,
        [work.tracker, work.progress, samples],
        initial_batches=None,
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
