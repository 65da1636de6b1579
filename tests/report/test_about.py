"""What a model is, in words, by its own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt_from_scratch.files.writing import write_json
from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.report.about import about
from gpt_from_scratch.weights.config_file import write_config

TINY = GPTConfig(1536, 256, 96, 4, 3, qkv_bias=True, tie_weights=True)
SMALL = GPTConfig(20000, 256, 384, 6, 6, tie_weights=True)
GPT2 = GPT2_SIZES["124M"]
BOOK = GPTConfig(context_length=256)


@pytest.mark.parametrize(
    ("cfg", "facts", "name", "text"),
    [
        (TINY, {"pretrained": "none", "data": "sample"}, "Pretrained model", "Tiny model, 0.5 million parameters, "
            "context of 256 tokens; begun from random weights, trained to continue texts on the sample text: "
            "it knows the form and few facts."),
        (SMALL, {"pretrained": "none", "data": "a.txt"}, "Pretrained model", "Small model, 18.4 million parameters, "
            "context of 256 tokens; begun from random weights, trained to continue texts on texts of your own "
            "(a.txt)."),
        (BOOK, {"pretrained": "none", "data": "upstream"}, "Pretrained model", "Model in the shape of GPT-2 124M, "
            "162.4 million parameters, context of 256 tokens; begun from random weights, trained to continue texts on "
            "the book's short story."),
        (TINY, {"pretrained": "synthetic"}, "Untrained model", "Tiny model, 0.5 million parameters, context of 256 "
            "tokens; random weights in GPT-2's format, never trained: no text makes sense."),
        (GPT2, {"pretrained": "openai"}, "OpenAI's GPT-2 124M", "GPT-2 124M, 124.4 million parameters, context of "
            "1,024 tokens; trained by OpenAI to continue texts of the web: it is fluent, and often wrong."),
        (GPT2, {"pretrained": "huggingface", "base": "124M", "data": "upstream"}, "Instruction model", "GPT-2 124M, "
            "124.4 million parameters, context of 1,024 tokens; begun from OpenAI's GPT-2, trained to follow "
            "instructions on the book's 1,100 instructions."),
        (TINY, {"pretrained": "none", "base": "pretrain", "base_data": "sample", "data": "sample"}, "Instruction model",
            "Tiny model, 0.5 million parameters, context of 256 tokens; begun from a model that was pretrained on the "
            "sample text, trained to follow instructions on some hundred sample instructions: it knows the form and "
            "few facts."),
        (TINY, {"base": "124M"}, "Instruction model", "Tiny model, 0.5 million parameters, context of 256 tokens; "
            "begun from weights of unknown origin, trained to follow instructions on instructions that its folder does "
            "not name: it knows the form and few facts."),
        (GPT2, {}, "folder", "Model in the shape of GPT-2 124M, 124.4 million parameters, context of 1,024 tokens; "
            "its folder does not say what it was trained on."),
    ],
)  # fmt: skip
def test_a_language_model_is_what_its_files_say(
    cfg: GPTConfig, facts: dict, name: str, text: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_config(folder, cfg, "GPT2LMHeadModel", 0, facts)
    assert about(folder) == (name, text)


def test_a_classifier_names_its_labels(tmp_path: Path) -> None:
    write_config(tmp_path, TINY, "GPT2Model", 0, {"pretrained": "path", "base": "own", "data": "upstream"})
    labels = {"labels": ["ham", "spam", "news"], "max_length": 60, "pad_id": 0, "deciding_token": "last"}
    write_json(tmp_path / "classifier.json", {**labels, "causal": True})
    assert about(tmp_path) == (
        "Classifier",
        "Tiny model, 0.5 million parameters, reads 60 tokens; begun from a model of your own, trained to tell "
        "ham, spam and news apart on the SMS Spam Collection.",
    )
