"""Stage `pretrain`: a GPT from random weights on the corpus (chapter 5) → `models/pretrain`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

if __name__ == "__main__":
    from gpt_from_scratch.portable import pin_instructions

    pin_instructions(ROOT)

import torch

from gpt_from_scratch.data.batching import text_loaders
from gpt_from_scratch.data.corpus import read_text, split_text
from gpt_from_scratch.data.raw import raw_file
from gpt_from_scratch.files import new_folder
from gpt_from_scratch.generation.text import continue_text
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.progress import TrainingProgress
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training import LanguageModelling
from gpt_from_scratch.training.fit import fit, total_steps
from gpt_from_scratch.training.runtime import prepare
from gpt_from_scratch.training_stage import TrainingStage, run_training, write_training
from gpt_from_scratch.weights.huggingface import save_model


def pretrain(stage: TrainingStage) -> None:
    """Train, write a sample after every epoch, and save model, metrics and curves."""
    params = stage.params.pretrain
    device = prepare(stage.params.runtime)
    source, bpe = raw_file(stage.raw, "text.txt"), raw_file(stage.raw, "bpe")
    stage.use_dataset(source, "pretraining")
    tokenizer = load_tokenizer(bpe)
    texts = split_text(read_text(source), params.train_fraction)
    token_ids = [tokenizer.encode(text, allowed_special={"<|endoftext|>"}) for text in texts]
    loaders = text_loaders(*token_ids, params.model.context_length, params.stride, params.batch_size)

    torch.manual_seed(params.seed)
    model = GPTModel(GPTConfig(vocab_size=tokenizer.n_vocab, **params.model.model_dump())).to(device)
    with TrainingProgress(stage.name, total_steps(loaders[0], params)) as progress:
        result = fit(
            model,
            LanguageModelling(),
            loaders,
            params,
            device,
            [stage.run, progress],
            initial_batches=None,
            saver=stage.saver,
            write_sample=lambda: continue_text(model, tokenizer, params.sample.prompt, params.sample.tokens),
        )
    facts = {**stage.data_facts(), "pretrained": "none"}
    with new_folder(stage.models / "pretrain") as folder:
        save_model(model, folder, bpe, facts)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    write_training(stage, result, {**facts, "parameters": parameters})


if __name__ == "__main__":
    run_training("pretrain", ROOT, pretrain)
