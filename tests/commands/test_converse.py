"""`gpt instruct` and `gpt chat`."""

from __future__ import annotations

import re

import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt_from_scratch.commands.converse import fitting
from gpt_from_scratch.tokenizer.bpe import load_tokenizer

BEGIN = "Below is an instruction that describes a task. Write a response that appropriately completes the request."


def answered(project, text: str, tokens: int) -> str:
    """What transformers writes greedily after a prompt."""
    folder = project / "models/instruct"
    model, tokenizer = GPT2LMHeadModel.from_pretrained(folder).eval(), load_tokenizer(folder)
    ids = tokenizer.encode(text)
    start = len(ids)
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return tokenizer.decode(ids[start:])


def test_the_model_goes_on_after_the_prompt_and_generates_the_header_itself(gpt, project) -> None:
    prompt = f"{BEGIN}\n\n### Instruction:\nCount.\n\n### Input:\na b"
    result = gpt("instruct", "Count.", "--input", "a b", "--tokens", 6)
    assert result.stdout == answered(project, prompt, 6).replace("### Response:", "").strip() + "\n"


def test_the_prompt_is_written_as_the_models_facts_say(gpt, project) -> None:
    config = project / "models/instruct/config.json"
    before = config.read_text()
    for style in ("phi3", "chatml"):
        config.write_text(before.replace('"data": "sample"', f'"data": "sample", "prompt_style": "{style}"'))
        try:
            result = gpt("instruct", "Count.", "--input", "a b", "--tokens", 6)
        finally:
            config.write_text(before)
        if style == "phi3":
            assert result.stdout == answered(project, "<|user|>\nCount.\na b", 6).strip() + "\n"
        else:
            assert (result.exit_code, result.stdout) == (1, "")
            assert "prompt_style of the model: expected alpaca or phi3, found 'chatml'" in result.stderr


def test_an_instruction_from_standard_input(gpt) -> None:
    typed = gpt("instruct", "Count.", "--tokens", 4)
    for piped in ("Count.\n", "\ufeffCount.\r\n"):
        assert gpt("instruct", "-", "--tokens", 4, input=piped).stdout == typed.stdout


def test_an_instruction_that_does_not_fit_is_refused(gpt) -> None:
    result = gpt("instruct", "Count " * 100)
    assert (result.exit_code, result.stdout) == (1, "")
    said = (
        r"instruction: expected at most 96 tokens with the answer, the model's context, found \d+ and 1 to generate; "
    )
    assert re.search(said + "shorten it, or ask for fewer with --tokens", result.stderr)


def test_chat_answers_and_forgets(gpt) -> None:
    first = gpt("chat", "--tokens", 5, input="Count.\n").stdout
    assert gpt("chat", "--tokens", 5, input=b"\xef\xbb\xbfCount.\r\n").stdout == first
    refused = gpt("chat", input=b"Count\xff\n")
    assert "error: standard input: expected UTF-8 text, found the byte 0xff" in refused.stderr
    both = gpt("chat", "--tokens", 5, input="Count.\n/reset\nCount.\n/what\n/quit\nCount.\n").stdout
    introduction, _, answer = first.partition("/quit leaves.\n")
    assert "never trained to converse" in introduction
    assert both == f"{introduction}/quit leaves.\n{answer}(forgotten)\n{answer}(commands: /reset, /quit)\n"


def test_chat_says_what_no_longer_fits(gpt) -> None:
    said = gpt("chat", "--tokens", 5, input="Count.\nCount.\nCount.\n").stdout
    assert "(1 of 1 earlier turns no longer fit and are forgotten)" in said
    too_long = gpt("chat", input="Count " * 100 + "\n").stdout
    assert re.search(r"\(instruction: expected at most 96 tokens .*, found \d+ and 48 to generate; .*\)", too_long)


def test_the_last_turns_are_the_context() -> None:
    history = [[1] * 10, [2] * 5, [3] * 4]
    assert fitting(history, [9] * 6, 30) == history
    assert fitting(history, [9] * 6, 15) == history[1:]
    assert fitting(history, [9] * 6, 14) == history[2:]
    assert fitting(history, [9] * 6, 6) == []


@pytest.mark.parametrize("name", ["instruct", "chat"])
def test_help_has_an_example(gpt, name) -> None:
    assert f"gpt {name}" in gpt(name, "--help").stdout.split("Examples:")[1]


def test_a_model_that_was_not_taught_is_said_to_be_none(gpt, project) -> None:
    for command, more in (("instruct", ["Do it", "--tokens", "2"]), ("chat", ["--tokens", "2"])):
        said = gpt(command, *more, "--model", "models/pretrain", input="").stderr
        assert "pretrain is no instruction model" in said
