"""Classifiers as folders (chapter 6): a GPT-2 whose last layer gives one number per class.

Hugging Face's classification head has no bias, the book's has, so the layout is our own: `config.json` and the
tokenizer's files as for a language model; `model.safetensors` with the body under Hugging Face's names
(`transformers.GPT2Model` reads it) and the head as `score.weight` `[classes, emb_dim]` and `score.bias` `[classes]`;
`classifier.json` with the names of the classes, the length that texts are padded to, the token they are padded with and
which token decides; and whether the model is causal, which `transformers.GPT2Model` always is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import torch

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.writing import read_json, write_json
from gpt_from_scratch.model.config import GPTConfig, Kernels
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.model.sequences import DecidingToken
from gpt_from_scratch.weights.config_file import load_config, load_facts, write_config, write_tokenizer
from gpt_from_scratch.weights.layout import GPT2Tensor, empty_model, fill_model, gpt2_tensors, named_parameters
from gpt_from_scratch.weights.tensor_file import TensorFile, write_tensors


@dataclass(frozen=True)
class ClassifierInfo:
    """Settings of a classifier: all that classifying a text depends on besides the weights and the tokenizer.

    Attributes:
        labels: names of the classes, in the order of the head's outputs.
        max_length: tokens that a longer text is cut to, of which the first are kept, and a shorter one is padded to.
        pad_id: id of the padding token.
        deciding_token: position whose logits are classified: `last`, the last after padding; `last_real`, the text's
            own last, so that no padding is needed; `first`; or `mean`, the mean over all tokens, padding included.
        facts: further facts about the weights.
        causal: no token sees a later one.
    """

    labels: tuple[str, ...]
    max_length: int
    pad_id: int
    deciding_token: DecidingToken = "last"
    facts: dict[str, Any] = field(default_factory=dict)
    causal: bool = True


def save_classifier(
    model: GPTModel,
    folder: Path,
    tokenizer_folder: Path,
    *,
    labels: Sequence[str],
    max_length: int,
    pad_id: int,
    deciding_token: DecidingToken,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a classifier and its tokenizer into an existing folder.

    Args:
        model: its `out_head` is a `Linear` with bias and one output per label.
        tokenizer_folder: where the tokenizer's two files lie, under OpenAI's or Hugging Face's names.

    Other arguments as in `ClassifierInfo`.
    """
    end_of_text = write_tokenizer(tokenizer_folder, folder, model.config)
    write_config(folder, model.config, "GPT2Model", end_of_text, facts)
    info = {"labels": list(labels), "max_length": max_length, "pad_id": pad_id, "deciding_token": deciding_token}
    write_json(folder / "classifier.json", {**info, "causal": model.config.causal})
    parameters = named_parameters(model)
    tensors = chain(gpt2_tensors(model.config), _head(len(labels), model.config.emb_dim))
    write_tensors(folder, ((tensor, tensor.from_parameters(parameters)) for tensor in tensors))


def load_classifier(
    folder: Path, *, drop_rate: float = 0.0, kernels: Kernels = "fused", device: torch.device | str = "cpu"
) -> tuple[GPTModel, ClassifierInfo]:
    """Read a classifier in evaluation mode; its `out_head` gives `[batch, tokens, classes]`.

    Raises:
        InputError: as `load_model` does, and when `classifier.json` is missing or does not fit the model.
    """
    cfg = replace(load_config(folder), drop_rate=drop_rate, kernels=kernels)
    info = load_info(folder, cfg)
    cfg = replace(cfg, causal=info.causal)
    head = list(_head(len(info.labels), cfg.emb_dim))
    file = TensorFile(folder)
    file.check(chain(gpt2_tensors(cfg), head))
    model = empty_model(cfg, device, n_outputs=len(info.labels))
    fill_model(model, file.read(chain(gpt2_tensors(cfg), head)))
    return model.eval(), info


def _head(n_classes: int, emb_dim: int) -> Iterator[GPT2Tensor]:
    yield GPT2Tensor("", "score.weight", (n_classes, emb_dim), ("out_head.weight",))
    yield GPT2Tensor("", "score.bias", (n_classes,), ("out_head.bias",))


def load_info(folder: Path, cfg: GPTConfig) -> ClassifierInfo:
    """Read a classifier's settings from its folder.

    Raises:
        InputError: when `classifier.json` is missing or does not fit the model's shape.
    """
    path = Path(folder) / "classifier.json"
    content = read_json(path)
    keys = {"causal", "deciding_token", "labels", "max_length", "pad_id"}
    if isinstance(content, dict):
        content = {"deciding_token": "last", "causal": True, **content}  # folders written before there was a choice
    if not isinstance(content, dict) or set(content) != keys:
        raise InputError(f"{path}: expected a JSON object with the keys {', '.join(sorted(keys))}")
    labels, max_length, pad_id = content["labels"], content["max_length"], content["pad_id"]
    if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{path}: labels: expected at least two names, found {shown(labels)}")
    for key, value, low, high in (
        ("max_length", max_length, 1, cfg.context_length),
        ("pad_id", pad_id, 0, cfg.vocab_size - 1),
    ):
        if type(value) is not int or not low <= value <= high:
            raise InputError(f"{path}: {key}: expected a whole number from {low} to {high}, found {shown(value)}")
    deciding = content["deciding_token"]
    if deciding not in get_args(DecidingToken):
        raise InputError(
            f"{path}: deciding_token: expected one of {', '.join(get_args(DecidingToken))}, found {shown(deciding)}"
        )
    if not isinstance(content["causal"], bool):
        raise InputError(f"{path}: causal: expected true or false, found {shown(content['causal'])}")
    return ClassifierInfo(tuple(labels), max_length, pad_id, deciding, load_facts(folder), content["causal"])
