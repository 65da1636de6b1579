"""Instruction fine-tuning: a pretrained GPT learns to follow instructions, or to prefer answers (chapter 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from tiktoken import Encoding

from gpt_from_scratch.data.batches.loaders import Loader
from gpt_from_scratch.data.instructions.conversations import turns_of
from gpt_from_scratch.data.instructions.entries import Instructions
from gpt_from_scratch.data.instructions.loaders import instruction_loaders, preference_loaders
from gpt_from_scratch.data.instructions.preferences import Preferences
from gpt_from_scratch.data.instructions.prompts import FACT, Question, format_prompt
from gpt_from_scratch.data.instructions.reading import read_parts
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.generation.text import continue_text, encode
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.model.lora import merge_lora, train_lora
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.environment import prepare
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.journal import Samples
from gpt_from_scratch.training.outputs import SAMPLES, write_training
from gpt_from_scratch.training.preferences import PreferenceTuning, reference_log_probabilities
from gpt_from_scratch.training.tasks import LanguageModelling, Task
from gpt_from_scratch.training.workspace import Workspace, warn_cut
from gpt_from_scratch.weights.adapter import save_adapter
from gpt_from_scratch.weights.config_file import load_config
from gpt_from_scratch.weights.huggingface import save_model
from gpt_from_scratch.weights.start import check_length, starting_model

if TYPE_CHECKING:
    from gpt_from_scratch.params.trainings import Instruct

NAME = "finetune_instruct"

TEACHING = (FACT, "objective", "instructions", "preferences", "turns")
"""The facts of a model folder that say how and from what the model was taught; see `teaching`."""


def instruct(work: Workspace) -> None:
    """Train on answers or preferences, answer one validation entry after every epoch, and save the model.

    Raises:
        InputError: when data, base model or parameters do not fit, as the parts that are called here say.
    """
    params = work.params.instruct
    device = prepare(work.params.runtime, work.group.local_size)
    base = work.models / params.base

    tokenizer = load_tokenizer(base)
    train_part, _, val_part = read_parts(work.raw, params)
    preferences = params.objective == "preferences"
    work.use_dataset(work.root / params.data, "preference tuning" if preferences else "instruction tuning")
    context = load_config(base).context_length
    check_length("instruct.max_length", params.max_length, context, params.base)
    prompt = sample_prompt(params, tokenizer, context, val_part)

    torch.manual_seed(params.seed)
    model, facts = starting_model(base, params.initial_weights, params.drop_rate, params.kernels)
    if params.trainable == "lora":
        train_lora(model, params.lora.rank, params.lora.alpha)
    model.to(device)
    learn = learn_preferences if preferences else learn_answers
    task, loaders, cut = learn(params, model, tokenizer, (train_part, val_part), device)
    warn_cut(cut, len(train_part) + len(val_part), "instructions with their answers", params.max_length)

    torch.manual_seed(params.seed)
    samples = Samples(
        prompt,
        lambda: continue_text(model, tokenizer, prompt, params.sample_tokens),
        tell=lambda row: work.tracker.table([row], SAMPLES),
    )
    journal = fit(
        model,
        task,
        loaders,
        params,
        [work.tracker, work.progress, samples],
        initial_batches=params.eval_batches,
        saver=work.saver,
        group=work.group,
    )
    if not work.group.first:
        return

    own = teaching(params, train_part)
    facts = {
        **work.data_facts("instruct"),
        **{key: value for key, value in facts.items() if key not in TEACHING},
        **own,
    }
    with new_folder(work.models / "instruct") as folder:
        if params.trainable == "lora":
            save_adapter(model, folder / "adapter", f"models/{params.base}")
            merge_lora(model)
        save_model(model, folder, base, facts)
    # Whether there are scores depends on the objective, and DVC's outs cannot: they stand in the metrics file.
    scores = {"epochs": journal.scores} if journal.scores else {}
    write_training(work, NAME, journal, {**facts, **scores, "cut": cut}, samples=samples.rows, scores_curve=False)
    work.tracker.tags(own)


def sample_prompt(params: Instruct, tokenizer: Encoding, context_length: int, entries: Sequence[Question]) -> str:
    """Return the prompt of the samples: the first entry's that fits the context with an answer, without later turns.

    Raises:
        InputError: when none fits.
    """
    lengths = []
    for entry in entries:
        prompt = format_prompt(turns_of(entry)[0], params.prompt_style)
        lengths.append(len(encode(tokenizer, prompt)))
        if lengths[-1] + params.sample_tokens <= context_length:
            return prompt
    raise InputError(
        f"instruct.sample_tokens: expected room for an answer in the context of models/{params.base}, {context_length} "
        f"tokens, found {params.sample_tokens}, and {min(lengths)} or more in each of the {len(lengths)} validation "
        "prompts; choose fewer, or a base with a longer context"
    )


Learning = tuple[Task, tuple[Loader, Loader], int]
"""A task, the loaders for training and validation, and how many sequences these cut."""


def learn_answers(
    params: Instruct, model: GPTModel, tokenizer: Encoding, parts: Sequence[list], device: torch.device
) -> Learning:
    """Return task and loaders for learning the entries' answers."""
    sets = [Instructions(part, tokenizer, params.max_length, params.prompt_style) for part in parts]
    loaders = instruction_loaders(
        *sets, params.batch_size, tokenizer.eot_token, params.group_by_length, params.mask_instruction
    )
    return LanguageModelling(), loaders, sum(part.cut for part in sets)


def learn_preferences(
    params: Instruct, model: GPTModel, tokenizer: Encoding, parts: Sequence[list], device: torch.device
) -> Learning:
    """Return task and loaders for learning to prefer the chosen answers; the model as it is now is the reference."""
    sets = [Preferences(part, tokenizer, params.max_length, params.prompt_style) for part in parts]
    for pairs in sets:
        batches = pairs.batches(params.batch_size, tokenizer.eot_token)
        pairs.reference = reference_log_probabilities(model, batches, device, params.precision)
    loaders = preference_loaders(*sets, params.batch_size, tokenizer.eot_token, params.group_by_length)
    return PreferenceTuning(params.preferences.beta), loaders, sum(pairs.cut for pairs in sets)


def teaching(params: Instruct, entries: Sequence[Question]) -> dict[str, str]:
    """Return how and from what the model was taught, where that is not the book's way; `turns` of the longest entry."""
    facts = {}
    if params.prompt_style != "alpaca":
        facts[FACT] = params.prompt_style
    if params.objective == "preferences":
        facts |= {"objective": params.objective, "preferences": params.data}
    elif not params.is_book:
        facts["instructions"] = params.data
    if (turns := max(len(turns_of(entry)) for entry in entries)) > 1:
        facts["turns"] = str(turns)
    return facts
