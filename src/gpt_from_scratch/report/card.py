"""Model cards: the README.md of an exported model, for people and for Hugging Face's pages; `card.md` has the texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gpt_from_scratch.data.instructions.prompts import format_prompt, response_header, style_of
from gpt_from_scratch.evaluation.measured import model_figures, role
from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.report.templates import template
from gpt_from_scratch.weights.classifier import load_info
from gpt_from_scratch.weights.config_file import load_config, load_facts
from gpt_from_scratch.weights.layout import parameter_count

_REPOSITORIES = {"124M": "gpt2", "355M": "gpt2-medium", "774M": "gpt2-large", "1558M": "gpt2-xl"}


def folder_card(folder: Path, name: str) -> str:
    """Return the card of a model folder that is exported under a name."""
    cfg, facts, instructed = load_config(folder), load_facts(folder), role(folder) == "instruct"
    classifier = load_info(folder, cfg) if (folder / "classifier.json").is_file() else None
    prompt, header = "Every effort moves you", ""
    if instructed:
        style = style_of(facts)
        prompt = format_prompt({"instruction": "Name three colours.", "input": ""}, style)
        header = response_header(style).strip()
    return template("card.md").render(
        front=yaml.safe_dump(_metadata(cfg, facts, bool(classifier)), sort_keys=False, allow_unicode=True),
        name=name,
        kind="classifier" if classifier else "model that follows instructions" if instructed else "language model",
        parameters=parameter_count(cfg, None if classifier is None else len(classifier.labels)),
        cfg=cfg,
        facts=facts,
        classifier=classifier,
        figures=model_figures(folder),
        prompt=repr(prompt),
        header=header,
    )


def _metadata(cfg: GPTConfig, facts: Mapping[str, Any], classifies: bool) -> dict[str, Any]:
    data = [facts.get(key, "sample") for key in ("base_data", "data")]
    known = facts.get("pretrained") != "path" and {*data} <= {"sample", "upstream"}
    content: dict[str, Any] = {"language": "en", "license": "mit"} if known else {"license": "other"}
    sizes = {key: size for key, size in GPT2_SIZES.items() if size.emb_dim == cfg.emb_dim}
    if facts.get("pretrained") in ("openai", "huggingface") and sizes:
        content["base_model"] = f"openai-community/{_REPOSITORIES[next(iter(sizes))]}"
    content["pipeline_tag"] = "text-classification" if classifies else "text-generation"
    content["library_name"] = "transformers"
    # Only names that exist on the hub belong here; the other data stand in the text.
    content["datasets"] = ["ucirvine/sms_spam"] if classifies and facts.get("data") == "upstream" else []
    content["tags"] = ["gpt2", "gpt-from-scratch"]
    return content
