"""`gpt generate`: the same tokens as transformers gives, streamed, many at a time, and clear refusals."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt_from_scratch.tokenizer.bpe import load_tokenizer


def expected(project, prompt: str, tokens: int, name: str = "instruct") -> str:
    """The greedy continuation that transformers computes from the folder, without a cache."""
    model = GPT2LMHeadModel.from_pretrained(project / "models" / name).eval()
    tokenizer = load_tokenizer(project / "models" / name)
    ids = tokenizer.encode(prompt)
    for _ in range(tokens):
        with torch.no_grad():
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if token == tokenizer.eot_token:
            break
        ids.append(token)
    return tokenizer.decode(ids)


def test_it_writes_what_transformers_writes(gpt, project) -> None:
    result = gpt("generate", "Every effort moves you", "--model", "models/instruct", "--tokens", 20)
    assert result.stdout == expected(project, "Every effort moves you", 20) + "\n"


def test_the_same_seed_draws_the_same_text_and_another_one_another(gpt) -> None:
    texts = [
        gpt("generate", "The light", "--temperature", 1, "--top-k", 40, "--tokens", 15, "--seed", seed).stdout
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert all(text.startswith("The light") for text in texts)


def test_top_k_1_is_greedy_whatever_the_temperature(gpt) -> None:
    options = ("generate", "The light", "--tokens", 8)
    assert gpt(*options, "--temperature", 2, "--top-k", 1).stdout == gpt(*options).stdout


def test_a_repetition_penalty_is_that_of_transformers(gpt, project) -> None:
    model = GPT2LMHeadModel.from_pretrained(project / "models/instruct").eval()
    tokenizer = load_tokenizer(project / "models/instruct")
    ids = torch.tensor([tokenizer.encode("The light")])
    options = {"max_new_tokens": 20, "do_sample": False, "repetition_penalty": 1.4, "pad_token_id": tokenizer.eot_token}
    new = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0].tolist()
    expected = tokenizer.decode([token for token in new if token != tokenizer.eot_token])
    arguments = ("generate", "The light", "--model", "models/instruct", "--tokens", 20)
    assert gpt(*arguments, "--repetition-penalty", 1.4).stdout == expected + "\n" != gpt(*arguments).stdout


def test_top_p_of_0_and_min_p_of_1_are_greedy_whatever_the_temperature(gpt) -> None:
    options = ("generate", "The light", "--tokens", 8)
    greedy = gpt(*options).stdout
    assert gpt(*options, "--temperature", 2, "--top-p", 0).stdout == greedy
    assert gpt(*options, "--temperature", 2, "--min-p", 1).stdout == greedy


def test_stop_strings_streamed_and_to_a_file(gpt, tmp_path) -> None:
    plain = gpt("generate", "The light", "--tokens", 20).stdout.removesuffix("\n")
    new = plain.removeprefix("The light")
    stop = ("--stop", new[6:8], "--stop", new[9:13])
    expected = "The light" + new[: min(new.index(text) for text in stop[1::2])]
    assert gpt("generate", "The light", "--tokens", 20, *stop).stdout == expected + "\n"
    (tmp_path / "prompts").write_text("The light\nA cat\n")
    options = ("generate", "--prompts", tmp_path / "prompts", "--tokens", 20)
    row = json.loads(gpt(*options, *stop, "--min-p", 0.5).stdout.splitlines()[0])
    assert (row["text"], row["stop"], row["min_p"]) == (expected, list(stop[1::2]), 0.5)
    assert list(json.loads(gpt(*options).stdout.splitlines()[0])) == [
        *("prompt", "text", "tokens", "seed", "temperature", "top_k"),
    ]


def test_several_texts(gpt) -> None:
    result = gpt("generate", "The light", "--num", 3, "--temperature", 1, "--tokens", 8)
    parts = result.stdout.split("--- ")[1:]
    assert [part[:6] for part in parts] == [f"{number} ---\n" for number in (1, 2, 3)]
    assert len({part[6:] for part in parts}) == 3


def test_standard_input_is_the_prompt(gpt) -> None:
    typed = gpt("generate", "The light", "--tokens", 5)
    assert gpt("generate", "-", "--tokens", 5, input="The light\n").stdout == typed.stdout


@pytest.mark.parametrize("form", ["lines", "json"])
def test_a_file_of_prompts_gives_json_lines(gpt, project, tmp_path, form) -> None:
    prompts = ["Every effort moves you", "A cat", "The keeper of the light"]
    lines = prompts if form == "lines" else [json.dumps({"prompt": prompt, "id": 1}) for prompt in prompts]
    (tmp_path / "prompts").write_text("\n".join(lines) + "\n\n")
    out = tmp_path / "texts.jsonl"
    options = ("--model", "instruct", "--tokens", 7, "--batch-size", 2, "--seed", 9)
    assert gpt("generate", "--prompts", tmp_path / "prompts", "--out", out, *options).stdout == ""
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prompt"] for row in rows] == prompts
    assert [row["text"] for row in rows] == [expected(project, prompt, 7) for prompt in prompts]
    assert {(row["tokens"], row["seed"], row["temperature"]) for row in rows} == {(7, 9, 0.0)}


def test_odd_files_of_prompts(gpt, tmp_path):
    prompts = ["The light\u2028of\x85it", "A cat"]
    options, out = ("--tokens", 3, "--out"), tmp_path / "texts.jsonl"
    contents = ["\ufeff" + "\r\n".join(prompts), "\r".join(prompts) + "\r", json.dumps(prompts, indent=1)]
    contents += [json.dumps([{"prompt": prompt} for prompt in prompts])]
    for content in contents:
        (tmp_path / "prompts").write_text(content, encoding="utf-8", newline="")
        assert gpt("generate", "--prompts", tmp_path / "prompts", *options, out).exit_code == 0
        assert [json.loads(line)["prompt"] for line in out.read_text("utf-8").split("\n")[:-1]] == prompts
    again = tmp_path / "again.jsonl"
    assert gpt("generate", "--prompts", out, *options, again).exit_code == 0
    assert again.read_bytes() == out.read_bytes()
    typed = gpt("generate", "A\ncat", "--tokens", 3).stdout
    assert gpt("generate", "-", "--tokens", 3, input="\ufeffA\r\ncat\r\n").stdout == typed


def test_8_bit_weights(gpt, project) -> None:
    result = gpt("generate", "Every effort moves you", "--precision", "int8", "--tokens", 3)
    assert (result.exit_code, result.stdout[:22]) == (0, "Every effort moves you")


def test_a_prompt_beyond_the_context_is_refused_or_cut_and_said_to_be(gpt, project, tmp_path) -> None:
    tokenizer = load_tokenizer(project / "models/pretrain")
    ids = tokenizer.encode("a " * 200)
    result = gpt("generate", "a " * 200, "--tokens", 2)
    said = f"expected at most 96 tokens, the model's context, found {len(ids)} and 2 to generate"
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: prompt: {said}; shorten it, or keep its end with --cut\n"
    (tmp_path / "prompts").write_text("a\n" + "a " * 200 + "\n")
    assert f"prompt 2 of 2: {said}" in gpt("generate", "--prompts", tmp_path / "prompts", "--tokens", 2).stderr
    result = gpt("generate", "a " * 200, "--tokens", 2, "--cut")
    end = tokenizer.decode(ids[-96:])
    assert result.stdout.removeprefix("a " * 200) == gpt("generate", end, "--tokens", 2).stdout.removeprefix(end)
    assert result.stderr == f"note: prompt has {len(ids)} tokens: cut to the last 96\n"


def test_it_streams_and_ends_well_when_nobody_reads_on(project, root) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONIOENCODING": "utf-8"}
    code = "from gpt_from_scratch.cli import app; app()"
    arguments = ["generate", "The light", "--tokens", "100000", "--threads", "1", "--temperature", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=project, env=environment, **pipes) as process:
        assert os.read(process.stdout.fileno(), 9) == b"The light"
        seen = [os.read(process.stdout.fileno(), 4096) for _ in range(3)]
        assert all(seen)
        assert process.poll() is None, "it was read while it was being written"
        process.stdout.close()
        began = time.monotonic()
        error = process.stderr.read().decode()
        assert process.wait(60) == 1
        assert time.monotonic() - began < 30
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a prompt, or --prompts"),
        (["x", "--prompts", "y"], "and not both"),
        ([""], "prompt 1: expected a text, found an empty one"),
        (["x", "--num", "2"], "at --temperature 0 all texts are the same"),
        (["x", "--out", "y"], "expected --prompts with it"),
        (["x", "--model", "nowhere"], "nowhere: expected a model folder, .*models/pretrain"),
        (["x", "--model", "classifier"], "found a classifier; try gpt classify"),
        (["x", "--device", "mps"], "--device: 'mps' cannot be used"),
        (["x", "--repetition-penalty", "0"], "repetition_penalty: expected 0.01 to 100.0, found 0.0"),
        (["x", "--stop", ""], "stop: expected Unicode texts of at least one character"),
        (["--prompts", "nowhere.txt"], "nowhere.txt: file not found"),
        (["--prompts", "."], "expected a file, found a folder"),
        (["--prompts", "dvc.yaml", "--out", "dvc.yaml/x", "--tokens", "1"], "dvc.yaml takes no file"),
    ],
)
def test_what_is_wrong_is_one_line(gpt, project, arguments, message) -> None:
    result = gpt("generate", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert re.search(message, result.stderr)


@pytest.mark.parametrize("line", ['{"text": "x"}', '{"prompt": 7}', '{"prompt": '])
def test_a_json_line_without_a_prompt_is_named(gpt, tmp_path, line) -> None:
    (tmp_path / "prompts").write_text(f'{{"prompt": "x"}}\n{line}\n')
    result = gpt("generate", "--prompts", tmp_path / "prompts")
    assert result.exit_code == 1
    assert re.search("prompts, (entry|line) 2", result.stderr)


def test_debug_may_stand_anywhere(gpt) -> None:
    assert type(gpt("generate", "x", "--model", "nowhere", "--debug").exception).__name__ == "InputError"
    assert isinstance(gpt("generate", "--tokens", 1, "--", "--debug").exception, type(None))


def test_model_names_are_completed(gpt) -> None:
    words = {"COMP_WORDS": "gpt generate x --model models/p", "COMP_CWORD": "4"}
    result = gpt(env={"_GPT_COMPLETE": "complete_bash", **words}, prog_name="gpt")
    assert result.stdout.split() == ["models/pretrain"]


@pytest.mark.parametrize("command", [("generate", "a"), ("generate", "a", "--num", "2"), ("instruct", "a"), ("chat",)])
@pytest.mark.parametrize("temperature", ["nan", "inf", "-inf", "-0.5", "1e400"])
def test_a_temperature_that_is_none_is_refused_before_anything_is_printed(gpt, command, temperature) -> None:
    answer = gpt(*command, f"--temperature={temperature}", "--tokens", "3", input="a\n")
    assert answer.exit_code != 0
    assert "emperature" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


@pytest.mark.parametrize("command", [("generate", "a"), ("generate", "--prompts", "-"), ("instruct", "a")])
def test_the_lowest_temperatures_take_the_likeliest_token(gpt, command) -> None:
    greedy = gpt(*command, "--tokens", "5", input="a\n")
    assert greedy.exit_code == 0
    for temperature in ("1e-5", "1e-40", "1e-320"):
        found = gpt(*command, "--tokens", "5", "--temperature", temperature, input="a\n").stdout
        assert found.replace(f'"temperature": {float(temperature)}', '"temperature": 0.0') == greedy.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "--prompts", "no such file", "--out"],
        ["classify", "--file", "no such file", "--out"],
        ["report", "--out"],
        ["experiments", "table", "no such study", "--out"],
        ["profile", "pretrain", "--out"],
        ["data", "generate", "instructions"],
    ],
)
def test_where_nothing_can_be_written_is_said_before_the_work(gpt, tmp_path, arguments) -> None:
    (tmp_path / "file").touch()
    result = gpt(*arguments, tmp_path / "file" / "new.json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(f"expected a place to write to, but {tmp_path / 'file'} takes no file\n")


@pytest.mark.parametrize("command", [["generate", "Hello"], ["instruct", "Hello"], ["chat"]])
def test_the_sampling_is_checked_before_the_weights_are_read(gpt, monkeypatch, command) -> None:
    monkeypatch.setattr("gpt_from_scratch.commands.models.load_writer", lambda *_: pytest.fail("the weights are read"))
    assert "repetition_penalty: expected" in gpt(*command, "--repetition-penalty", 1000).stderr
