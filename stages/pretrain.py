"""Stage `pretrain`: a GPT from random weights on the corpus (chapter 5) → `models/pretrain`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

if __name__ == "__main__":
    from gpt_from_scratch.params.pins import pin_instructions

    pin_instructions(ROOT)

import torch

from gpt_from_scratch.data.batching import text_loaders
from gpt_from_scratch.data.fetch.raw import raw_file
from gpt_from_scratch.data.text.pretraining import read_pretraining_text
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.generation.text import continue_text, is_cut
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.pipeline.training_stage import TrainingStage, run_training, write_training
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.environment import prepare
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.journal import Samples
from gpt_from_scratch.training.tasks import LanguageModelling
from gpt_from_scratch.weights.huggingface import save_model


def pretrain(stage: TrainingStage) -> None:
    """Train, write a sample after every epoch, and save model, metrics and curves."""
    params = stage.params.pretrain
    device = prepare(stage.params.runtime, stage.group.local_size)
    bpe = raw_file(stage.raw, "bpe")
    tokenizer = load_tokenizer(bpe)
    text = read_pretraining_text(stage, tokenizer, bpe)
    stage.run.dataset(text.path.name, text.path, text.sha256, "pretraining")
    loaders = text_loaders(text.train, text.validation, params.model.context_length, params.stride, params.batch_size)

    torch.manual_seed(params.seed)
    model = GPTModel(GPTConfig(vocab_size=tokenizer.n_vocab, **params.model.model_dump())).to(device)
    stage.say_cut(is_cut(model, tokenizer, params.sample.prompt), "prompt of the samples")
    samples = Samples(
        lambda: continue_text(model, tokenizer, params.sample.prompt, params.sample.tokens), stage.log_sample
    )
    journal = fit(
        model,
        LanguageModelling(),
        loaders,
        params,
        [stage.run, stage.progress, samples],
        initial_batches=None,
        saver=stage.saver,
        group=stage.group,
    )
    if not stage.group.first:
        return
    facts = {**stage.data_facts(), "pretrained": "none", **text.facts}
    with new_folder(stage.models / "pretrain") as folder:
        save_model(model, folder, bpe, facts)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    write_training(stage, journal, samples, {**facts, "parameters": parameters})


if __name__ == "__main__":
    run_training("pretrain", ROOT, pretrain)
