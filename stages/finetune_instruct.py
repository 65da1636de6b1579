"""Stage `finetune_instruct`: a GPT learns to follow instructions (chapter 7) → `models/instruct`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

if __name__ == "__main__":
    from gpt_from_scratch.params.pins import pin_instructions

    pin_instructions(ROOT)

from collections.abc import Sequence
from typing import Any

import torch
from tiktoken import Encoding

from gpt_from_scratch.data.batching import Loader, instruction_loaders, preference_loaders
from gpt_from_scratch.data.fetch.raw import named_file
from gpt_from_scratch.data.instructions.entries import Instructions, read_entries, split_entries
from gpt_from_scratch.data.instructions.preferences import Preferences, read_preferences
from gpt_from_scratch.data.instructions.prompts import FACT, format_prompt
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.generation.text import continue_text, is_cut
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.lora import merge_lora, train_lora
from gpt_from_scratch.params.sections import BOOK_INSTRUCTIONS, Instruct
from gpt_from_scratch.pipeline.training_stage import TrainingStage, run_training, write_training
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.environment import prepare
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.journal import Samples
from gpt_from_scratch.training.preferences import PreferenceTuning, reference_log_probabilities
from gpt_from_scratch.training.tasks import LanguageModelling, Task
from gpt_from_scratch.weights.adapter import save_adapter
from gpt_from_scratch.weights.huggingface import save_model
from gpt_from_scratch.weights.start import check_length, starting_model


def finetune_instruct(stage: TrainingStage) -> None:
    """Train on answers or preferences, answer one validation entry after every epoch, and save the model."""
    params = stage.params.instruct
    device = prepare(stage.params.runtime, stage.group.local_size)
    base = stage.models / params.base
    tokenizer = load_tokenizer(base)
    train_part, _, val_part = split_entries(read_data(stage), params.train_fraction, params.test_fraction)

    torch.manual_seed(params.seed)
    model, facts = starting_model(base, params.initial_weights, params.drop_rate, params.kernels)
    check_length(model, "instruct.max_length", params.max_length, params.base)
    if params.trainable == "lora":
        train_lora(model, params.lora.rank, params.lora.alpha)
    model.to(device)
    learn = learn_preferences if params.objective == "preferences" else learn_answers
    task, loaders, cut = learn(params, model, tokenizer, (train_part, val_part), device)
    stage.say_cut(cut, "instructions with their answers")

    torch.manual_seed(params.seed)
    prompt = format_prompt(val_part[0], params.prompt_style)
    stage.say_cut(is_cut(model, tokenizer, prompt), "prompt of the samples")
    samples = Samples(lambda: continue_text(model, tokenizer, prompt, params.sample_tokens), stage.log_sample)
    journal = fit(
        model,
        task,
        loaders,
        params,
        [stage.run, stage.progress, samples],
        initial_batches=params.eval_batches,
        saver=stage.saver,
        group=stage.group,
    )
    if not stage.group.first:
        return
    own = teaching(params)
    facts = {**stage.data_facts(), **{key: value for key, value in facts.items() if key not in TEACHING}, **own}
    with new_folder(stage.models / "instruct") as folder:
        if params.trainable == "lora":
            save_adapter(model, folder / "adapter", f"models/{params.base}")
            merge_lora(model)
        save_model(model, folder, base, facts)
    # Whether there are scores depends on the objective, and DVC's outs cannot: they stand in the metrics file.
    scores = {"epochs": journal.scores} if journal.scores else {}
    write_training(stage, journal, samples, {**facts, **scores, "cut": cut}, scores_curve=False)
    if own:
        stage.run.tags(own)


def read_data(stage: TrainingStage) -> list[Any]:
    """Read the entries that are learnt from, and note their file."""
    params = stage.params.instruct
    preferences = params.objective == "preferences"
    name = params.preferences.data if preferences else params.data
    source = named_file(stage.raw, name)
    stage.use_dataset(source, "preference tuning" if preferences else "instruction tuning")
    if preferences:
        return read_preferences(source)
    return read_entries(source, empty_answers=name != BOOK_INSTRUCTIONS)


Learning = tuple[Task, tuple[Loader, Loader], int]
"""A task, the loaders for training and validation, and how many sequences these cut."""


def learn_answers(
    params: Instruct, model: GPTModel, tokenizer: Encoding, parts: Sequence[list], device: torch.device
) -> Learning:
    """Return what learning the entries' answers takes."""
    sets = [Instructions(part, tokenizer, params.max_length, params.prompt_style) for part in parts]
    loaders = instruction_loaders(
        *sets, params.batch_size, tokenizer.eot_token, params.group_by_length, params.mask_instruction
    )
    return LanguageModelling(), loaders, sum(part.cut for part in sets)


def learn_preferences(
    params: Instruct, model: GPTModel, tokenizer: Encoding, parts: Sequence[list], device: torch.device
) -> Learning:
    """Return what learning to prefer the chosen answers takes; the model as it is now is the reference."""
    sets = [Preferences(part, tokenizer, params.max_length, params.prompt_style) for part in parts]
    for pairs in sets:
        batches = pairs.batches(params.batch_size, tokenizer.eot_token)
        pairs.reference = reference_log_probabilities(model, batches, device, params.precision)
    loaders = preference_loaders(*sets, params.batch_size, tokenizer.eot_token, params.group_by_length)
    return PreferenceTuning(params.preferences.beta), loaders, sum(pairs.cut for pairs in sets)


TEACHING = (FACT, "objective", "instructions", "preferences")


def teaching(params: Instruct) -> dict[str, str]:
    """Return how and from what the model was taught, as far as that is not the book's way."""
    facts = {}
    if params.prompt_style != "alpaca":
        facts[FACT] = params.prompt_style
    if params.objective == "preferences":
        facts |= {"objective": params.objective, "preferences": params.preferences.data}
    elif params.data != BOOK_INSTRUCTIONS:
        facts["instructions"] = params.data
    return facts


if __name__ == "__main__":
    run_training("finetune_instruct", ROOT, finetune_instruct)
