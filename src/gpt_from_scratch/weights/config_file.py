"""`config.json` and the tokenizer's files of a model folder, as Hugging Face's GPT-2 expects them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.writing import read_json, write_json
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.tokenizer.added import as_decoder, read_added
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT, load_tokenizer, two_files

OUR_KEY = "gpt_from_scratch"
"""The one key of `config.json` that Hugging Face does not know."""

_SHAPE = {
    "vocab_size": "vocab_size",
    "n_positions": "context_length",
    "n_embd": "emb_dim",
    "n_head": "n_heads",
    "n_layer": "n_layers",
}
_DROPOUT = {"resid_pdrop": "shortcut", "embd_pdrop": "emb", "attn_pdrop": "attn"}
_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
"""What `GPTModel` computes and cannot compute otherwise: the accepted values, GPT-2's own first."""
_OFF: dict[str, tuple[Any, ...]] = {
    "auto_map": (None, {}),
    "pruned_heads": (None, {}),
    "quantization_config": (None,),
    "reorder_and_upcast_attn": (None, False),
}
"""What a `config.json` may say besides and `GPTModel` cannot do: the values that switch it off."""


def write_config(
    folder: Path, cfg: GPTConfig, architecture: str, end_of_text: int, facts: Mapping[str, Any] | None
) -> None:
    """Write `config.json`.

    Args:
        architecture: the class of `transformers` that reads the folder.
        end_of_text: id of the token that begins and ends a text.
        facts: what else is to be known about the weights, kept under `OUR_KEY`.
    """
    write_json(
        folder / "config.json",
        {
            **{theirs: getattr(cfg, ours) for theirs, ours in _SHAPE.items()},
            **{key: accepted[0] for key, accepted in _FIXED.items()},
            **{theirs: getattr(cfg.drop_rates, ours) for theirs, ours in _DROPOUT.items()},
            "n_inner": None,
            "architectures": [architecture],
            "bos_token_id": end_of_text,
            "eos_token_id": end_of_text,
            "tie_word_embeddings": cfg.tie_weights,
            OUR_KEY: {**(facts or {}), "qkv_bias": cfg.qkv_bias},
        },
    )


def load_config(folder: Path) -> GPTConfig:
    """Read the shape of the model in a folder, ours or Hugging Face's.

    Raises:
        InputError: when a size is missing or out of range, or when the model computes what `GPTModel` does not.
    """
    path, content = _read(folder)
    for key, accepted in _FIXED.items():
        if content.get(key, accepted[0]) not in accepted:
            raise InputError(f"{path}: {key}: expected {accepted[0]!r}, found {shown(content[key])}")
    for key, accepted in _OFF.items():
        if content.get(key) not in accepted:
            raise InputError(f"{path}: {key}: expected none, found {shown(content[key])}")
    sizes = {}
    for theirs, ours in _SHAPE.items():
        if type(content.get(theirs)) is not int or abs(content[theirs]) >= 2**63:
            raise InputError(f"{path}: {theirs}: expected a whole number, found {shown(content.get(theirs))}")
        sizes[ours] = content[theirs]
    if content.get("n_inner") not in (None, 4 * sizes["emb_dim"]):
        raise InputError(f"{path}: n_inner: expected null or {4 * sizes['emb_dim']}, found {shown(content['n_inner'])}")
    switches = {
        "tie_word_embeddings": content.get("tie_word_embeddings", True),
        f"{OUR_KEY}.qkv_bias": _ours(path, content).get("qkv_bias", True),
    }
    for key, value in switches.items():
        if not isinstance(value, bool):
            raise InputError(f"{path}: {key}: expected true or false, found {shown(value)}")
    drop_rate = content.get("resid_pdrop", 0.1)
    if type(drop_rate) not in (int, float) or not 0 <= drop_rate < 1:
        raise InputError(f"{path}: resid_pdrop: expected a number from 0 to below 1, found {shown(drop_rate)}")
    tie_weights, qkv_bias = switches.values()
    try:
        return GPTConfig(**sizes, drop_rate=float(drop_rate), qkv_bias=qkv_bias, tie_weights=tie_weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def load_facts(folder: Path) -> dict[str, Any]:
    """Return the facts that a model folder was saved with; none for a folder of Hugging Face's."""
    return {key: value for key, value in _ours(*_read(folder)).items() if key != "qkv_bias"}


def write_tokenizer(tokenizer_folder: Path, folder: Path, cfg: GPTConfig) -> int:
    """Copy a tokenizer into a model folder, under Hugging Face's names, and return its id of `<|endoftext|>`.

    Raises:
        InputError: when the tokenizer is unusable or has ids that the model has no vector for.
    """
    encoding = load_tokenizer(tokenizer_folder)
    if encoding.n_vocab > cfg.vocab_size:
        raise InputError(
            f"{tokenizer_folder}: tokenizer of {encoding.n_vocab} tokens: expected at most the model's {cfg.vocab_size}"
        )
    with two_files(tokenizer_folder) as files:
        for source, name in zip(files, ("vocab.json", "merges.txt"), strict=True):
            shutil.copyfile(source, folder / name)
    added = read_added(tokenizer_folder)
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    write_json(
        folder / "tokenizer_config.json",
        {
            **special,
            **({"added_tokens_decoder": as_decoder(added)} if added else {}),
            "tokenizer_class": "GPT2Tokenizer",
            "add_prefix_space": False,
            "model_max_length": cfg.context_length,
        },
    )
    return encoding.eot_token


def _read(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = Path(folder) / "config.json"
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return path, content


def _ours(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    ours = content.get(OUR_KEY, {})
    if not isinstance(ours, dict):
        raise InputError(f"{path}: {OUR_KEY}: expected a JSON object, found {type(ours).__name__}")
    return ours
