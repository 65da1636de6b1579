"""Stage `finetune_instruct`: a GPT learns to follow instructions (chapter 7) → `models/instruct`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

if __name__ == "__main__":
    from gpt_from_scratch.portable import pin_instructions

    pin_instructions(ROOT)

import torch

from gpt_from_scratch.data.batching import instruction_loaders
from gpt_from_scratch.data.instructions import Instructions, format_prompt, read_entries, split_entries
from gpt_from_scratch.data.raw import raw_file
from gpt_from_scratch.files import new_folder
from gpt_from_scratch.generation.text import continue_text, is_cut
from gpt_from_scratch.model.lora import merge_lora, train_lora
from gpt_from_scratch.progress import TrainingProgress
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training import LanguageModelling
from gpt_from_scratch.training.fit import fit, total_steps
from gpt_from_scratch.training.runtime import prepare
from gpt_from_scratch.training_stage import TrainingStage, run_training, write_training
from gpt_from_scratch.weights.adapter import save_adapter
from gpt_from_scratch.weights.huggingface import save_model
from gpt_from_scratch.weights.start import check_length, starting_model


def finetune_instruct(stage: TrainingStage) -> None:
    """Train on prompts and responses, answer one validation entry after every epoch, and save the model."""
    params = stage.params.instruct
    device = prepare(stage.params.runtime, stage.group.local_size)
    base = stage.models / params.base
    tokenizer = load_tokenizer(base)
    source = raw_file(stage.raw, "instruction-data.json")
    stage.use_dataset(source, "instruction tuning")
    train_part, _, val_part = split_entries(read_entries(source), params.train_fraction, params.test_fraction)

    torch.manual_seed(params.seed)
    model, facts = starting_model(base, params.initial_weights, params.drop_rate, params.kernels)
    check_length(model, "instruct.max_length", params.max_length, params.base)
    train_set, val_set = (Instructions(part, tokenizer, params.max_length) for part in (train_part, val_part))
    cut = train_set.cut + val_set.cut
    stage.say_cut(cut, "instructions with their answers")
    loaders = instruction_loaders(train_set, val_set, params.batch_size, tokenizer.eot_token, params.group_by_length)
    if params.trainable == "lora":
        train_lora(model, params.lora.rank, params.lora.alpha)
    model.to(device)

    torch.manual_seed(params.seed)
    prompt = format_prompt(val_part[0])
    stage.say_cut(is_cut(model, tokenizer, prompt), "prompt of the samples")
    with TrainingProgress(stage.name, total_steps(loaders[0], params), shown=stage.group.first) as progress:
        result = fit(
            model,
            LanguageModelling(),
            loaders,
            params,
            device,
            [stage.run, progress],
            initial_batches=params.eval_batches,
            saver=stage.saver,
            group=stage.group,
            write_sample=lambda: continue_text(model, tokenizer, prompt, params.sample_tokens),
        )
    if not stage.group.first:
        return
    facts = {**stage.data_facts(), **facts}
    with new_folder(stage.models / "instruct") as folder:
        if params.trainable == "lora":
            save_adapter(model, folder / "adapter", f"models/{params.base}")
            merge_lora(model)
        save_model(model, folder, base, facts)
    write_training(stage, result, {**facts, "cut": cut})


if __name__ == "__main__":
    run_training("finetune_instruct", ROOT, finetune_instruct)
