"""A model folder in words: what it is called, how large it is, what it was trained for and on, by its own files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.weights.classifier import load_info
from gpt_from_scratch.weights.config_file import load_config, load_facts
from gpt_from_scratch.weights.layout import parameter_count

_SIZES = {10e6: "tiny", 100e6: "small", 1e9: "medium-sized"}
"""Sizes in words, by the parameters from which on the next one holds; beyond them all, a model is large."""
_OPENAI = ("openai", "huggingface")
_BEGUN = {
    **dict.fromkeys(_OPENAI, "OpenAI's GPT-2"),
    **dict.fromkeys(("none", "synthetic"), "random weights"),
    "path": "a model of your own",
}
_DATA = {
    "texts": {"sample": "the sample text", "upstream": "the book's short story"},
    "messages": {"sample": "the sample messages", "upstream": "the SMS Spam Collection"},
    "instructions": {"sample": "some hundred sample instructions", "upstream": "the book's 1,100 instructions"},
}


class About(NamedTuple):
    """A model's name as a person would say it, and the sentences on what it is."""

    name: str
    text: str


def about(folder: Path) -> About:
    """Return what a model folder's own files say about the model.

    Raises:
        InputError: when they are missing or damaged.
    """
    cfg, facts = load_config(folder), load_facts(folder)
    info = load_info(folder, cfg) if (folder / "classifier.json").is_file() else None
    openai = facts.get("pretrained") in _OPENAI
    parameters = parameter_count(cfg, info and len(info.labels))
    size = f"{_size(cfg, parameters, openai)}, {parameters / 1e6:,.1f} million parameters, "
    size += f"reads {info.max_length:,} tokens" if info else f"context of {cfg.context_length:,} tokens"
    if info:
        purpose = f"tell {', '.join(info.labels[:-1])} and {info.labels[-1]} apart"
        name, kind = "Classifier", "messages"
    elif "base" in facts:
        name, kind, purpose = "Instruction model", "instructions", "follow instructions"
    else:
        name, kind, purpose = "Pretrained model", "texts", "continue texts"
    if info or facts.keys() & {"base", "data"}:
        text = f"begun from {_begun(facts)}, trained to {purpose} on {_data(kind, facts.get('data'))}"
        is_tiny = parameters < min(_SIZES)
        return About(name, f"{size}; {text}{': it knows the form and few facts' if is_tiny and not info else ''}.")
    if openai:
        return About(
            f"OpenAI's {_shape(cfg) or 'GPT-2'}",
            f"{size}; trained by OpenAI to continue texts of the web: it is fluent, and often wrong.",
        )
    if facts.get("pretrained") == "synthetic":
        return About(
            "Untrained model", f"{size}; random weights in GPT-2's format, never trained: no text makes sense."
        )
    return About(folder.name, f"{size}; its folder does not say what it was trained on.")


def _shape(cfg: GPTConfig) -> str | None:
    """Return the published GPT-2 that has this shape."""
    sizes = {(size.emb_dim, size.n_heads, size.n_layers): name for name, size in GPT2_SIZES.items()}
    name = sizes.get((cfg.emb_dim, cfg.n_heads, cfg.n_layers))
    return name and f"GPT-2 {name}"


def _size(cfg: GPTConfig, parameters: int, openai: bool) -> str:
    if shape := _shape(cfg):
        return shape if openai else f"Model in the shape of {shape}"
    return next((word for most, word in _SIZES.items() if parameters < most), "large").capitalize() + " model"


def _begun(facts: Mapping[str, Any]) -> str:
    if "base_data" in facts:
        return f"a model that was pretrained on {_data('texts', facts['base_data'])}"
    return _BEGUN.get(str(facts.get("pretrained")), "weights of unknown origin")


def _data(kind: str, data: Any) -> str:
    if data is None:
        return f"{kind} that its folder does not name"
    return _DATA[kind].get(str(data)) or f"{kind} of your own ({data})"
