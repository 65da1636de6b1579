"""Stage `finetune_classify`: a GPT becomes a classifier, of spam or else (chapter 6) → `models/classifier`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

if __name__ == "__main__":
    from gpt_from_scratch.params.pins import pin_instructions

    pin_instructions(ROOT)

import torch
from tqdm import tqdm

from gpt_from_scratch.data.batching import message_loaders
from gpt_from_scratch.data.messages.labelled import read_class_names
from gpt_from_scratch.data.messages.messages import Messages, balanced_weights, read_split
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.model.heads import set_causal, set_classification_head, train_only
from gpt_from_scratch.model.lora import merge_lora, train_lora
from gpt_from_scratch.pipeline.progress import TrainingProgress
from gpt_from_scratch.pipeline.training_stage import TrainingStage, run_training, write_training
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training import Classification
from gpt_from_scratch.training.environment import prepare
from gpt_from_scratch.training.fit import fit, total_steps
from gpt_from_scratch.training.frozen_prefix import keep_frozen_prefix
from gpt_from_scratch.weights.adapter import save_adapter
from gpt_from_scratch.weights.classifier import save_classifier
from gpt_from_scratch.weights.start import check_length, starting_model


def finetune_classify(stage: TrainingStage) -> None:
    """Train the chosen layers on the messages, and save classifier, metrics and curves."""
    params = stage.params.classify
    device = prepare(stage.params.runtime, stage.group.local_size)
    base = stage.models / params.base
    tokenizer = load_tokenizer(base)
    folder = stage.root / "data" / "spam"
    labels = read_class_names(folder)
    files = [folder / f"{part}.csv" for part in ("train", "validation")]
    for file in files:
        stage.use_dataset(file, file.stem)

    torch.manual_seed(params.seed)
    model, facts = starting_model(base, params.initial_weights, params.drop_rate, params.kernels)
    set_causal(model, params.causal)
    if params.max_length is not None:
        check_length(model, "classify.max_length", params.max_length, params.base)
    kind = {"tokenizer": tokenizer, "pad_id": tokenizer.eot_token, "padded": params.deciding_token != "last_real"}
    limit = model.config.context_length
    train_set = Messages(read_split(files[0], len(labels)), max_length=params.max_length, limit=limit, **kind)
    val_set = Messages(read_split(files[1], len(labels)), max_length=train_set.max_length, **kind)
    weights = balanced_weights(train_set.labels, len(labels)) if params.class_weights == "balanced" else None
    cut = train_set.cut + val_set.cut
    stage.say_cut(cut, "messages")

    torch.manual_seed(params.seed)
    set_classification_head(model, len(labels))
    if params.trainable == "lora":
        train_lora(model, params.lora.rank, params.lora.alpha)
    else:
        train_only(model, params.trainable)
    model.to(device)
    number = len(train_set) + len(val_set)
    with tqdm(
        total=number, desc="frozen blocks", unit="message", mininterval=5, delay=1, disable=not stage.group.first
    ) as bar:
        # A fixed size, not what happens to be free: the two ways differ in the last bits.
        sets, first_block = keep_frozen_prefix(
            model, (train_set, val_set), params.frozen_gb * 1e9, bar.update, params.deciding_token
        )
    loaders = message_loaders(*sets, params.batch_size, padded=kind["padded"] and not first_block)
    torch.manual_seed(params.seed)
    with TrainingProgress(stage.name, total_steps(loaders[0], params), "examples", shown=stage.group.first) as progress:
        result = fit(
            model,
            Classification(first_block, params.deciding_token, weights),
            loaders,
            params,
            device,
            [stage.run, progress],
            initial_batches=10,
            saver=stage.saver,
            group=stage.group,
        )
    if not stage.group.first:
        return
    facts = {**stage.message_facts(), **facts}
    with new_folder(stage.models / "classifier") as folder:
        if params.trainable == "lora":
            save_adapter(model, folder / "adapter", f"models/{params.base}", classifier=True)
            merge_lora(model)
        save_classifier(
            model,
            folder,
            base,
            labels=labels,
            max_length=train_set.max_length,
            pad_id=tokenizer.eot_token,
            deciding_token=params.deciding_token,
            facts=facts,
        )
    write_training(stage, result, {**facts, "max_length": train_set.max_length, "cut": cut})


if __name__ == "__main__":
    run_training("finetune_classify", ROOT, finetune_classify, counts="examples")
