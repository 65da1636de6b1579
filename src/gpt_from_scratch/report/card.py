"""Model cards: the README.md of an exported model, for people and for Hugging Face's pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gpt_from_scratch.data.instructions.prompts import format_prompt, response_header, style_of
from gpt_from_scratch.evaluation.measured import model_figures, role
from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.weights.classifier import ClassifierInfo, load_info
from gpt_from_scratch.weights.config_file import load_config, load_facts
from gpt_from_scratch.weights.layout import parameter_count

_REPOSITORIES = {"124M": "gpt2", "355M": "gpt2-medium", "774M": "gpt2-large", "1558M": "gpt2-xl"}
_WEIGHTS = {
    "openai": "OpenAI's GPT-2, from its TensorFlow checkpoint.",
    "huggingface": "OpenAI's GPT-2, as Hugging Face publishes it.",
    "synthetic": "**synthetic**: random numbers in GPT-2's format, never trained on any text.",
    "path": "a model folder of the user's own (`download_gpt2.source: path`); its licence and data are not known here.",
    "none": "random; everything it knows it learnt from the data below.",
}
_DATA = {
    "sample": "the sample texts that come with the project, written for it and in the public domain (CC0 1.0).",
    "upstream": "the book's data: *The Verdict* by Edith Wharton (public domain), the SMS Spam Collection by "
    "Almeida and Gómez Hidalgo (UCI), or 1,100 instructions (rasbt/LLMs-from-scratch, Apache 2.0), by what it is for.",
}
_TRAINED_ON = {"base_data": "The base was trained on", "data": "Trained on"}
_LOAD_TEXT = """from transformers import AutoTokenizer, GPT2LMHeadModel

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = GPT2LMHeadModel.from_pretrained("{folder}")
ids = tokenizer({prompt!r}, return_tensors="pt").input_ids
room = model.config.n_positions - ids.shape[1]
print(tokenizer.decode(model.generate(ids, max_new_tokens=min(40, room), do_sample=False)[0]))"""
_LOAD_CLASSIFIER = """import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPT2Model

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = GPT2Model.from_pretrained("{folder}").eval()  # it warns that score.weight and score.bias are unused
head = load_file("{folder}/model.safetensors")
ids = tokenizer("You have won a prize").input_ids[:{max_length}]
{padding}
with torch.no_grad():
    state = model(torch.tensor([ids])).last_hidden_state[0]{place}
print(dict(zip({labels}, torch.softmax(head["score.weight"] @ state + head["score.bias"], -1).tolist())))"""

_LOAD_NOT_CAUSAL = """from gpt_from_scratch.generation.classifying import classify
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.classifier import load_classifier

# Every token of this model sees all of its text, which transformers' GPT2Model does not compute.
model, info = load_classifier("{folder}")
found = classify(model, info, load_tokenizer("{folder}"), ["You have won a prize"])
print(dict(zip(found.names, found.probabilities[0].tolist())))"""

_DECIDES = {
    "last": ("[-1]", "the last token after padding decides"),
    "last_real": ("[-1]", "the text's own last token decides: no padding"),
    "first": ("[0]", "the first token decides"),
    "mean": (".mean(0)", "the mean over all tokens decides, padding included"),
}


def folder_card(folder: Path, name: str) -> str:
    """Return the card of a model folder that is exported under a name."""
    cfg, facts, instructed = load_config(folder), load_facts(folder), role(folder) == "instruct"
    classifier = load_info(folder, cfg) if (folder / "classifier.json").is_file() else None
    front = yaml.safe_dump(_metadata(cfg, facts, classifier), sort_keys=False, allow_unicode=True)
    kind = "classifier" if classifier else "model that follows instructions" if instructed else "language model"
    parameters = parameter_count(cfg, None if classifier is None else len(classifier.labels))
    parts = [
        f"---\n{front}---\n\n# {name}",
        f"A GPT-2-shaped {kind} with {parameters:,} parameters: {cfg.n_layers} layers of width {cfg.emb_dim} "
        f"with {cfg.n_heads} heads, {cfg.vocab_size:,} tokens, context of {cfg.context_length:,}. Made by the pipeline "
        "of *GPT From Scratch*, after Sebastian Raschka's *Build a Large Language Model (From Scratch)*.",
        "## Weights and data",
        f"- Weights at the start: {_WEIGHTS.get(str(facts.get('pretrained')), 'not recorded.')}"
        + (f" Base: `{facts['base']}`." if "base" in facts else ""),
        *(f"- {title}: {_data_text(facts[key])}" for key, title in _TRAINED_ON.items() if key in facts),
        "## Metrics",
        _table(model_figures(folder)),
        "## Limits",
        _limits(facts, classifier, instructed, tied=cfg.tie_weights),
        "## How to load it",
        f"```python\n{_loading(name, facts, classifier, instructed)}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _data_text(data: str) -> str:
    return _DATA.get(data) or f"the user's own `{data}`, whose licence and language are not known here."


def _metadata(cfg: GPTConfig, facts: Mapping[str, Any], classifier: ClassifierInfo | None) -> dict[str, Any]:
    known = facts.get("pretrained") != "path" and all(facts.get(key, "sample") in _DATA for key in _TRAINED_ON)
    content: dict[str, Any] = {"language": "en", "license": "mit"} if known else {"license": "other"}
    sizes = {key: size for key, size in GPT2_SIZES.items() if size.emb_dim == cfg.emb_dim}
    if facts.get("pretrained") in ("openai", "huggingface") and sizes:
        content["base_model"] = f"openai-community/{_REPOSITORIES[next(iter(sizes))]}"
    content["pipeline_tag"] = "text-classification" if classifier else "text-generation"
    content["library_name"] = "transformers"
    # Only names that exist on the hub belong here; the other data stand in the text.
    content["datasets"] = ["ucirvine/sms_spam"] if classifier and facts.get("data") == "upstream" else []
    content["tags"] = ["gpt2", "gpt-from-scratch"]
    return content


def _table(metrics: Mapping[str, str]) -> str:
    if not metrics:
        return "Not evaluated: no figure is recorded for this folder as it is."
    rows = "\n".join(f"| {key} | {value} |" for key, value in metrics.items())
    note = "\n\nIn brackets: the 95 % interval (Wilson)." if "%)" in rows else ""
    return f"| metric | value |\n|---|---|\n{rows}{note}"


def _limits(facts: Mapping[str, Any], classifier: ClassifierInfo | None, instructed: bool, *, tied: bool) -> str:
    lines = [
        "It was made to learn from, not to be relied on: it is small, knows little, and repeats what its data say."
    ]
    if classifier:
        lines.append(
            f"It distinguishes {' from '.join(classifier.labels)} in messages like those of its training, reads the "
            f"first {classifier.max_length} tokens, and its probabilities are not calibrated."
        )
    else:
        lines.append("Its texts may be wrong, offensive or memorised; nothing filters them.")
        if not tied:
            lines.append(
                "Its output head is a matrix of its own (`tie_word_embeddings` is false). Engines that always take the "
                "embedding's for a GPT-2, as llama.cpp does, load it without an error and compute something else."
            )
    if instructed:
        header = response_header(style_of(facts)).strip()
        saw = f"conversations of up to {facts['turns']} turns" if "turns" in facts else "single instructions only"
        lines.append(f"It saw {saw}. Its answer begins with the header `{header}`.")
    if facts.get("pretrained") == "synthetic":
        lines.append("Its base never saw a text, so figures say nothing about what GPT-2's real weights would reach.")
    return "\n".join(f"- {line}" for line in lines)


def _loading(name: str, facts: Mapping[str, Any], classifier: ClassifierInfo | None, instructed: bool) -> str:
    if classifier is None:
        prompt = "Every effort moves you"
        if instructed:
            prompt = format_prompt({"instruction": "Name three colours.", "input": ""}, style_of(facts))
        return _LOAD_TEXT.format(folder=name, prompt=prompt)
    if not classifier.causal:
        return _LOAD_NOT_CAUSAL.format(folder=name)
    place, explanation = _DECIDES[classifier.deciding_token]
    padding, length = f"# {explanation}", classifier.max_length
    if classifier.deciding_token != "last_real":
        padding = f"ids += [{classifier.pad_id}] * ({length} - len(ids))  # {explanation}"
    return _LOAD_CLASSIFIER.format(
        folder=name, max_length=length, padding=padding, place=place, labels=classifier.labels
    )
