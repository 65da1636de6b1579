"""Classification fine-tuning: a pretrained GPT learns to tell classes of messages, spam from ham (chapter 6)."""

from __future__ import annotations

import torch
from tqdm import tqdm

from gpt_from_scratch.data.messages.labelled import read_class_names
from gpt_from_scratch.data.messages.loaders import message_loaders
from gpt_from_scratch.data.messages.messages import Messages, balanced_weights, read_split
from gpt_from_scratch.files.writing import new_folder
from gpt_from_scratch.model.heads import set_causal, set_classification_head, train_only
from gpt_from_scratch.model.lora import merge_lora, train_lora
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.environment import prepare
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.frozen_prefix import keep_frozen_prefix
from gpt_from_scratch.training.outputs import write_training
from gpt_from_scratch.training.tasks import Classification
from gpt_from_scratch.training.workspace import Workspace, warn_cut
from gpt_from_scratch.weights.adapter import save_adapter
from gpt_from_scratch.weights.classifier import save_classifier
from gpt_from_scratch.weights.config_file import load_config
from gpt_from_scratch.weights.start import check_length, starting_model

NAME = "finetune_classify"


def classify(work: Workspace) -> None:
    """Train the chosen layers on the messages, and save classifier, metrics and curves.

    Raises:
        InputError: when data, base model or parameters do not fit, as the parts that are called here say.
    """
    params = work.params.classify
    device = prepare(work.params.runtime, work.group.local_size)
    base = work.models / params.base

    tokenizer = load_tokenizer(base)
    labels = read_class_names(work.messages)
    files = [work.messages / f"{part}.csv" for part in ("train", "validation")]
    for file in files:
        work.use_dataset(file, file.stem)
    limit = load_config(base).context_length
    if params.max_length is not None:
        check_length("classify.max_length", params.max_length, limit, params.base)
    kind = {"tokenizer": tokenizer, "pad_id": tokenizer.eot_token, "padded": params.deciding_token != "last_real"}
    train_set = Messages(read_split(files[0], len(labels)), max_length=params.max_length, limit=limit, **kind)
    val_set = Messages(read_split(files[1], len(labels)), max_length=train_set.max_length, **kind)
    cut = train_set.cut + val_set.cut
    warn_cut(cut, len(train_set) + len(val_set), "messages", train_set.max_length)
    weights = balanced_weights(train_set.labels, len(labels)) if params.class_weights == "balanced" else None

    torch.manual_seed(params.seed)
    model, facts = starting_model(base, params.initial_weights, params.drop_rate, params.kernels)
    set_causal(model, params.causal)
    torch.manual_seed(params.seed)
    set_classification_head(model, len(labels))
    if params.trainable == "lora":
        train_lora(model, params.lora.rank, params.lora.alpha)
    else:
        train_only(model, params.trainable)
    model.to(device)

    number = len(train_set) + len(val_set)
    with tqdm(
        total=number, desc="frozen blocks", unit="message", mininterval=5, delay=1, disable=not work.group.first
    ) as bar:
        # A fixed size, not what happens to be free: the two ways differ in the last bits.
        sets, first_block = keep_frozen_prefix(
            model, (train_set, val_set), params.frozen_gb * 1e9, bar.update, params.deciding_token
        )
    loaders = message_loaders(*sets, params.batch_size, padded=kind["padded"] and not first_block)
    torch.manual_seed(params.seed)
    journal = fit(
        model,
        Classification(first_block, params.deciding_token, weights),
        loaders,
        params,
        [work.tracker, work.progress],
        initial_batches=10,
        saver=work.saver,
        group=work.group,
    )
    if not work.group.first:
        return

    facts = {**work.data_facts("classify"), **facts}
    with new_folder(work.models / "classifier") as folder:
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
    write_training(work, NAME, journal, {**facts, "max_length": train_set.max_length, "cut": cut})
